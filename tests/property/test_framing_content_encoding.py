"""Content codings: what was encoded is decoded whatever the chunks, and wrong bytes end in a named error."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from extproc.framing.content_encoding import DecodingError, decoder_for

_gzip = partial(gzip.compress, mtime=0)  # the time of writing would make examples differ from run to run
_ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}
_LISTS = st.lists(st.sampled_from(sorted(_ENCODERS)), max_size=4)


@given(names=_LISTS, plain=st.binary(max_size=500), data=st.data())
def test_body_comes_back_when_encoded_and_chunked_anyhow(names: list[str], plain: bytes, data: st.DataObject) -> None:
    """Every list of codings, cut at random."""
    encoded = plain
    for name in names:
        encoded = _ENCODERS[name](encoded)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(encoded)), max_size=8), label="cuts"))
    decoder = decoder_for(", ".join(names), limit=10_000)
    chunks = [encoded[start:end] for start, end in zip([0, *cuts], [*cuts, len(encoded)], strict=True)]
    assert b"".join(decoder.feed(chunk) for chunk in chunks) + decoder.close() == plain


@given(names=_LISTS, chunks=st.lists(st.binary(max_size=50), max_size=5))
def test_decoder_raises_only_decoding_errors_when_fed_anything(names: list[str], chunks: list[bytes]) -> None:
    """Arbitrary bytes never end in a library's own exception."""
    decoder = decoder_for(", ".join(names), limit=10_000)
    with suppress(DecodingError):
        for chunk in chunks:
            decoder.feed(chunk)
        decoder.close()


@given(name=st.sampled_from(["gzip", "deflate", "br", "zstd"]), plain=st.binary(min_size=1), data=st.data())
def test_damage_is_never_silent_when_a_checked_body_is_cut(name: str, plain: bytes, data: st.DataObject) -> None:
    """A cut body gives a beginning of the plain one, and then an error, never an end."""
    encoded = _ENCODERS[name](plain)
    cut = data.draw(st.integers(1, len(encoded) - 1), label="cut")
    decoder = decoder_for(name, limit=10_000)
    assert plain.startswith(decoder.feed(encoded[:cut]))
    with pytest.raises(DecodingError, match="ends before"):
        decoder.close()
