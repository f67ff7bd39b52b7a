"""Content codings: what is accepted, what is refused, and how much a body may grow."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from extproc.framing.content_encoding import (
    STREAM_FEED_LIMIT,
    DecodedTooLarge,
    Decoder,
    DecodingError,
    UnsupportedEncoding,
    decoder_for,
)

_PLAIN = b'{"choices": [{"message": {"content": "Hello"}}]}' * 50
_LIMIT = 1 << 20


def _raw_deflate(plain: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(plain) + compressor.flush()


def _one_by_one(decoder: Decoder, encoded: bytes) -> bytes:
    return b"".join(decoder.feed(encoded[at : at + 1]) for at in range(len(encoded))) + decoder.close()


_SKIPPABLE_FRAME = struct.pack("<II", 0x184D2A50, 5) + b"12345"
_ENCODED = [
    pytest.param("", _PLAIN, id="none"),
    pytest.param("identity", _PLAIN, id="identity"),
    pytest.param("gzip", gzip.compress(_PLAIN), id="gzip"),
    pytest.param("x-gzip", gzip.compress(_PLAIN), id="x-gzip"),
    pytest.param("gzip", gzip.compress(_PLAIN[:9]) + gzip.compress(b"") + gzip.compress(_PLAIN[9:]), id="gzip-members"),
    pytest.param("deflate", zlib.compress(_PLAIN), id="deflate"),
    pytest.param("deflate", zlib.compress(_PLAIN, 0), id="deflate-stored"),
    pytest.param("deflate", _raw_deflate(_PLAIN), id="deflate-without-zlib"),
    pytest.param("br", brotli.compress(_PLAIN), id="br"),
    pytest.param("zstd", zstandard.compress(_PLAIN), id="zstd"),
    pytest.param("zstd", zstandard.compress(_PLAIN[:9]) + zstandard.compress(_PLAIN[9:]), id="zstd-frames"),
    pytest.param("zstd", _SKIPPABLE_FRAME + zstandard.compress(_PLAIN) + _SKIPPABLE_FRAME, id="zstd-skippable-frames"),
    pytest.param("gzip, br", brotli.compress(gzip.compress(_PLAIN)), id="list"),
    pytest.param(" GZip ,,identity,\tZSTD ", zstandard.compress(gzip.compress(_PLAIN)), id="untidy-list"),
    pytest.param("gzip,gzip,gzip,gzip", gzip.compress(gzip.compress(gzip.compress(gzip.compress(_PLAIN)))), id="four"),
]
_COMPRESSED = [case for case in _ENCODED if case.id not in ("none", "identity")]


@pytest.mark.parametrize(("content_encoding", "encoded"), _ENCODED)
@pytest.mark.parametrize("limit", [pytest.param(len(_PLAIN) + 100, id="body"), pytest.param(None, id="stream")])
def test_decoder_gives_the_body_when_fed_whole_or_byte_by_byte(
    content_encoding: str, encoded: bytes, limit: int | None
) -> None:
    """However the bytes come, and when empty chunks come between them."""
    whole = decoder_for(content_encoding, limit=limit)
    assert whole.feed(encoded) + whole.feed(b"") + whole.close() == _PLAIN
    assert _one_by_one(decoder_for(content_encoding, limit=limit), encoded) == _PLAIN


@pytest.mark.parametrize("content_encoding", ["", "gzip", "deflate", "br", "zstd", "gzip, br"])
def test_decoder_gives_nothing_when_the_body_is_empty(content_encoding: str) -> None:
    """A HEAD-like reply names a coding and has no bytes."""
    decoder = decoder_for(content_encoding, limit=_LIMIT)
    assert decoder.feed(b"") + decoder.close() == b""


@pytest.mark.parametrize(("content_encoding", "encoded"), _COMPRESSED)
def test_close_refuses_the_body_when_it_is_cut_off(content_encoding: str, encoded: bytes) -> None:
    """Cut before the last byte, and after the first."""
    for cut_off in (encoded[:-1], encoded[:1]):
        decoder = decoder_for(content_encoding, limit=_LIMIT)
        decoder.feed(cut_off)
        with pytest.raises(DecodingError, match="ends before"):
            decoder.close()


@pytest.mark.parametrize(("content_encoding", "encoded"), _COMPRESSED)
def test_feed_refuses_the_body_when_other_bytes_follow_it(content_encoding: str, encoded: bytes) -> None:
    """What is not part of the coding is not dropped in silence."""
    together = decoder_for(content_encoding, limit=_LIMIT)
    with pytest.raises(DecodingError, match="not what its content-encoding says"):
        together.feed(encoded + b"more")
    apart = decoder_for(content_encoding, limit=_LIMIT)
    assert apart.feed(encoded) == _PLAIN
    with pytest.raises(DecodingError, match="not what its content-encoding says"):
        apart.feed(b"more")


@pytest.mark.parametrize("content_encoding", ["gzip", "deflate", "br", "zstd"])
def test_feed_refuses_the_body_when_it_is_not_encoded(content_encoding: str) -> None:
    """A header that lies, without the body in the message."""
    with pytest.raises(DecodingError, match="not what its content-encoding says") as caught:
        decoder_for(content_encoding, limit=_LIMIT).feed(b"\xffsecret secret secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content_encoding", "said"),
    [
        pytest.param("snappy", "'snappy' is not supported", id="unknown"),
        pytest.param("gzip, compress", "'compress' is not supported", id="unknown-in-a-list"),
        pytest.param("*", r"'\*' is not supported", id="star"),
        pytest.param("x" * 1_000, f"'{'x' * 40}' is not supported", id="long"),
        pytest.param("gzip," * 5, "more than 4", id="five"),
    ],
)
def test_decoder_for_refuses_when_the_coding_is_not_supported(content_encoding: str, said: str) -> None:
    """An unknown coding, or so many that they are an attack."""
    with pytest.raises(UnsupportedEncoding, match=said):
        decoder_for(content_encoding, limit=_LIMIT)


@pytest.mark.parametrize(
    ("content_encoding", "encode"),
    [
        pytest.param("identity", bytes, id="identity"),
        pytest.param("gzip", gzip.compress, id="gzip"),
        pytest.param("gzip", lambda plain: gzip.compress(plain[:50]) + gzip.compress(plain[50:]), id="gzip-members"),
        pytest.param("deflate", zlib.compress, id="deflate"),
        pytest.param("br", brotli.compress, id="br"),
        pytest.param("zstd", zstandard.compress, id="zstd"),
        pytest.param("gzip, br", lambda plain: brotli.compress(gzip.compress(plain)), id="list"),
    ],
)
def test_limit_counts_every_byte_given_when_it_is_reached(
    content_encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    """Exactly the limit passes; one byte more does not, in one feed or in many."""
    limit = 1_000
    just_fits = encode(b"x" * limit)
    assert _one_by_one(decoder_for(content_encoding, limit=limit), just_fits) == b"x" * limit
    too_large = encode(b"x" * (limit + 1))
    with pytest.raises(DecodedTooLarge, match="larger than 1000 bytes"):
        decoder_for(content_encoding, limit=limit).feed(too_large)
    with pytest.raises(DecodedTooLarge, match="larger than 1000 bytes"):
        _one_by_one(decoder_for(content_encoding, limit=limit), too_large)


@pytest.mark.parametrize(
    ("content_encoding", "encode"),
    [
        pytest.param("gzip", gzip.compress, id="gzip"),
        pytest.param("deflate", zlib.compress, id="deflate"),
        pytest.param("br", lambda plain: brotli.compress(plain, quality=1), id="br"),
        pytest.param("zstd", zstandard.compress, id="zstd"),
        pytest.param("gzip, zstd", lambda plain: zstandard.compress(gzip.compress(plain)), id="list"),
    ],
)
@pytest.mark.parametrize("limit", [pytest.param(_LIMIT, id="body"), pytest.param(None, id="stream")])
def test_bomb_is_refused_when_little_of_it_is_decoded(
    content_encoding: str, encode: Callable[[bytes], bytes], limit: int | None
) -> None:
    """96 MiB of zeros in one feed: refused with only a part of them ever in memory."""
    bomb = encode(bytes(6 * STREAM_FEED_LIMIT))
    decoder = decoder_for(content_encoding, limit=limit)
    tracemalloc.start()
    try:
        with pytest.raises(DecodedTooLarge):
            decoder.feed(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * STREAM_FEED_LIMIT


def test_stream_may_go_on_for_ever_when_each_feed_is_small() -> None:
    """Without a limit it is the single feed that is bounded, not the total."""
    compressor = zlib.compressobj(wbits=31)
    piece = bytes(STREAM_FEED_LIMIT // 2)
    decoder = decoder_for("gzip", limit=None)
    for _ in range(4):
        assert len(decoder.feed(compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH))) == len(piece)


def test_stream_passes_a_feed_when_it_was_larger_than_the_bound_before_decoding() -> None:
    """Bytes that hardly grow are no bomb, however many come at once."""
    plain = bytes(STREAM_FEED_LIMIT + 1)
    assert decoder_for("identity", limit=None).feed(plain) == plain
    assert decoder_for("deflate", limit=None).feed(zlib.compress(plain, 0)) == plain


def test_zstd_is_refused_when_it_asks_for_a_window_over_eight_mebibytes() -> None:
    """RFC 9659: a decoder need not give more memory than that."""
    parameters = zstandard.ZstdCompressionParameters(window_log=24)
    encoded = zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(1 << 25))
    with pytest.raises(DecodingError, match="memory"):
        decoder_for("zstd", limit=None).feed(encoded)


def test_bomb_is_refused_when_the_member_before_it_already_fills_the_limit() -> None:
    """To zlib a limit of 0 is none: the second member must not be decoded at all."""
    encoded = gzip.compress(bytes(_LIMIT + 1)) + gzip.compress(bytes(6 * STREAM_FEED_LIMIT))
    decoder = decoder_for("gzip", limit=_LIMIT)
    tracemalloc.start()
    try:
        with pytest.raises(DecodedTooLarge):
            decoder.feed(encoded)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < STREAM_FEED_LIMIT


def test_gzip_ends_before_the_test_is_timed_out_when_its_members_are_tiny() -> None:
    """Four hundred thousand empty members: copying the rest of the body at each would take minutes."""
    decoder = decoder_for("gzip", limit=_LIMIT)
    assert decoder.feed(gzip.compress(b"") * 400_000) + decoder.close() == b""


def _gzip_pieces(pieces: list[bytes]) -> list[bytes]:
    compressor = zlib.compressobj(wbits=31)
    return [compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]


def _brotli_pieces(pieces: list[bytes]) -> list[bytes]:
    compressor = brotli.Compressor()
    return [compressor.process(piece) + compressor.flush() for piece in pieces]


def _zstd_pieces(pieces: list[bytes]) -> list[bytes]:
    compressor = zstandard.ZstdCompressor().compressobj()
    return [compressor.compress(piece) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for piece in pieces]


@pytest.mark.parametrize(
    ("content_encoding", "encode"),
    [
        pytest.param("gzip", _gzip_pieces, id="gzip"),
        pytest.param("br", _brotli_pieces, id="br"),
        pytest.param("zstd", _zstd_pieces, id="zstd"),
        pytest.param("zstd, gzip", lambda pieces: _gzip_pieces(_zstd_pieces(pieces)), id="list"),
    ],
)
def test_event_is_given_at_once_when_the_provider_flushed_it(
    content_encoding: str, encode: Callable[[list[bytes]], list[bytes]]
) -> None:
    """A token does not wait for the next one inside the decoder."""
    events = [b"data: a\n\n", b"data: b\n\n", b"data: [DONE]\n\n"]
    decoder = decoder_for(content_encoding, limit=None)
    assert [decoder.feed(piece) for piece in encode(events)] == events
