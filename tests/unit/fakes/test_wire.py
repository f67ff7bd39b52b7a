"""How a fake's reply becomes bytes: framing, content codings and cuts."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from tests.fakes.steps import DONE, Fin, Framing, Reply, Reset, Send, Sleep, Step, event, event_reply, json_reply
from tests.fakes.wire import render

STREAM = event_reply(event({"text": "höher 🎉"}), event({"text": "b"}), DONE)
PLAIN = b"".join(step.payload for step in STREAM.body if isinstance(step, Send))


def _gunzip(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(data)


def _unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def _unbrotli(data: bytes) -> bytes:
    return bytes(brotli.Decompressor().process(data))


DECODERS = [
    pytest.param("gzip", _gunzip, id="gzip"),
    pytest.param("br", _unbrotli, id="br"),
    pytest.param("zstd", _unzstd, id="zstd"),
]


def written(steps: tuple[Step, ...]) -> bytes:
    """All bytes of a plan."""
    return b"".join(step.payload for step in steps if isinstance(step, Send))


def unchunked(data: bytes) -> list[bytes]:
    """The chunks of a chunked body, the last (empty) one included."""
    chunks = []
    while data:
        size, _, data = data.partition(b"\r\n")
        chunks.append(data[: int(size, 16)])
        data = data[int(size, 16) + 2 :]
    return chunks


def changed(reply: Reply, **fields: object) -> Reply:
    """``reply`` with some fields replaced."""
    values = {name: getattr(reply, name) for name in Reply.__slots__} | fields
    return Reply(**values)


def test_json_has_its_length_and_stays_open_when_nothing_is_asked() -> None:
    """A whole reply ends by content-length and leaves the connection for the next request."""
    steps = render(json_reply({"a": 1}, status=429))
    head, _, body = written(steps).partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: 13"
    assert body == b'{\n  "a": 1\n}\n'
    assert Fin() not in steps


def test_connection_closes_when_the_client_asks() -> None:
    """`connection: close` is said and done."""
    steps = render(json_reply({}), close=True)
    assert b"\r\nconnection: close\r\n" in written(steps)
    assert steps[-1] == Fin()


def test_status_line_is_written_when_the_status_is_not_registered() -> None:
    """529 is Anthropic's own, unknown to the registry."""
    assert written(render(json_reply({}, status=529))).startswith(b"HTTP/1.1 529 Unknown\r\n")


def test_each_event_is_one_chunk_when_streamed() -> None:
    """Events are flushed one by one, as a provider does."""
    head, _, body = written(render(STREAM)).partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert unchunked(body) == [*(step.payload for step in STREAM.body if isinstance(step, Send)), b""]


def test_trailers_follow_the_last_chunk_when_there_are_any() -> None:
    """Trailers are announced and sent."""
    head, _, body = written(render(changed(STREAM, trailers=(("x-checksum", "1"),)))).partition(b"\r\n\r\n")
    assert b"\r\ntrailer: x-checksum" in head
    assert body.endswith(b"0\r\nx-checksum: 1\r\n\r\n")


def test_body_ends_with_the_connection_when_close_delimited() -> None:
    """Neither a length nor chunks."""
    steps = render(changed(STREAM, framing=Framing.CLOSE))
    head, _, body = written(steps).partition(b"\r\n\r\n")
    assert b"content-length" not in head
    assert b"transfer-encoding" not in head
    assert body == PLAIN
    assert steps[-1] == Fin()


@pytest.mark.parametrize(("coding", "decode"), DECODERS)
def test_every_event_is_readable_at_once_when_encoded(coding: str, decode: Callable[[bytes], bytes]) -> None:
    """The bytes sent up to an event decode to exactly what was said so far."""
    steps = render(changed(STREAM, coding=coding, framing=Framing.CLOSE))
    head, *sent = (step.payload for step in steps if isinstance(step, Send))
    events = [step.payload for step in STREAM.body if isinstance(step, Send)]
    assert f"content-encoding: {coding}\r\n".encode() in head
    for count in range(1, len(events) + 1):
        assert decode(b"".join(sent[:count])) == b"".join(events[:count])
    assert decode(b"".join(sent)) == PLAIN


@pytest.mark.parametrize(("coding", "decode"), DECODERS)
def test_length_is_that_of_the_encoded_body_when_encoded(coding: str, decode: Callable[[bytes], bytes]) -> None:
    """content-length counts what is on the wire."""
    head, _, body = written(render(changed(json_reply({"a": "b" * 500}), coding=coding))).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert decode(body) == written(render(json_reply({"a": "b" * 500}))).partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("sizes", [(1,), (3, 5), (999,)])
def test_chunks_have_the_sizes_asked_for_when_cut(sizes: tuple[int, ...]) -> None:
    """The sizes come in turn whatever the events are, and no byte changes."""
    *chunks, last = unchunked(written(render(changed(STREAM, sizes=sizes))).partition(b"\r\n\r\n")[2])
    assert last == b""
    assert b"".join(chunks) == PLAIN
    assert all(len(chunk) == size for chunk, size in zip(chunks[:-1], itertools.cycle(sizes), strict=False))


def test_pauses_lie_between_the_pieces_when_cut_with_a_pause() -> None:
    """Not before the first one, and not behind the last."""
    steps = render(changed(json_reply({}), sizes=(2,), pause=0.5))
    assert [type(step) for step in steps] == [Send, Send, Sleep, Send]


def test_other_steps_keep_their_place_when_cut() -> None:
    """A reset after the first event still comes after its bytes and before the next ones."""
    first, *rest = STREAM.body
    steps = render(changed(STREAM, body=(first, Reset(), *rest), sizes=(7,)))
    before = written(steps[: steps.index(Reset())]).partition(b"\r\n\r\n")[2]
    assert isinstance(first, Send)
    assert b"".join(unchunked(before)) == first.payload


def test_announced_length_differs_when_told_to() -> None:
    """The peer cannot know where the reply ends, so the connection ends."""
    steps = render(changed(json_reply({}), length_error=5))
    assert b"content-length: 8\r\n" in written(steps)
    assert steps[-1] == Fin()
