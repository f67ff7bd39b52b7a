"""AWS's event stream, message by message."""

from __future__ import annotations

import struct
import zlib

import pytest

from extproc.framing.base import FramingError
from extproc.framing.event_stream import EventStreamFramer, GarbledMessage
from extproc.framing.sse import Event, EventTooLong
from tests.fakes.event_stream import event, exception, framed, message

HELLO = event("contentBlockDelta", b'{"delta":{"text":"Hello"}}')


def cut(data: bytes, *, limit: int = 1 << 20) -> list[Event]:
    """All that a framer makes of it in one piece."""
    framer = EventStreamFramer(limit=limit)
    return framer.feed(data) + framer.close()


def test_message_is_an_event() -> None:
    """Its type, its payload and its bytes."""
    (found,) = cut(HELLO)
    assert found == Event(raw=HELLO, data=b'{"delta":{"text":"Hello"}}', event=b"contentBlockDelta")


def test_exception_is_marked() -> None:
    """By its name."""
    (found,) = cut(exception("throttlingException", b'{"message":"Slow down."}'))
    assert (found.event, found.data, found.failed) == (b"throttlingException", b'{"message":"Slow down."}', True)


def test_error_of_the_transport_is_marked() -> None:
    """It has no payload: what it says stands in its headers."""
    headers = {":message-type": "error", ":error-code": "InternalError", ":error-message": 'It "broke".'}
    (found,) = cut(message(headers, b""))
    assert (found.event, found.data, found.failed) == (b"InternalError", b'{"message": "It \\"broke\\"."}', True)


@pytest.mark.parametrize("headers", [{}, {":event-type": ""}, {":event-type": 7}, {":message-type": b"exception"}])
def test_message_without_a_type_is_an_event_without_one(headers: dict[str, str | int | bytes]) -> None:
    """Headers of another kind than text name nothing."""
    (found,) = cut(message(headers, b"x"))
    assert (found.event, found.data, found.failed) == (None, b"x", False)


def test_end_inside_a_message_is_truncated() -> None:
    """What has come of it is not an answer."""
    first, second = cut(HELLO + HELLO[:-1])
    assert not first.truncated
    assert (second.raw, second.data, second.truncated) == (HELLO[:-1], b"", True)


@pytest.mark.parametrize(
    ("position", "what"),
    [
        pytest.param(3, "prelude with a wrong checksum", id="length"),
        pytest.param(8, "prelude with a wrong checksum", id="checksum of the prelude"),
        pytest.param(20, "wrong checksum", id="headers"),
        pytest.param(len(HELLO) - 6, "wrong checksum", id="payload"),
        pytest.param(len(HELLO) - 1, "wrong checksum", id="checksum of the message"),
    ],
)
def test_changed_byte_is_found(position: int, what: str) -> None:
    """Nothing of the message is given, nor of what follows; those before it are."""
    wrong = bytearray(HELLO)
    wrong[position] ^= 1
    framer = EventStreamFramer(limit=1 << 20)
    assert len(framer.feed(HELLO + bytes(wrong) + HELLO)) == 1
    for _ in range(2):
        with pytest.raises(GarbledMessage, match=what):
            framer.feed(HELLO)
    with pytest.raises(GarbledMessage, match=what):
        framer.close()


def test_long_message_is_refused_by_its_prelude() -> None:
    """Before its bytes have come: that much is never held."""
    long = event("chunk", b"x" * 2_000)
    framer = EventStreamFramer(limit=len(long) - 1)
    with pytest.raises(EventTooLong, match="longer than"):
        framer.feed(long[:12])
    assert len(cut(long, limit=len(long))) == 1


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(b"\x05ab", id="name cut off"),
        pytest.param(b"\x01a", id="no type"),
        pytest.param(b"\x01a\x07\x00\x05ab", id="text cut off"),
        pytest.param(b"\x01a\x05\x00", id="number cut off"),
        pytest.param(b"\x01a\x09\x00", id="UUID cut off"),
        pytest.param(b"\x01a\x0a\x00", id="unknown type"),
        pytest.param(b"\x01\xff\x00", id="name that is no text"),
        pytest.param(b"\x01a\x07\x00\x01\xff", id="text that is none"),
    ],
)
def test_wrong_headers_are_refused(headers: bytes) -> None:
    """Though both checksums are right."""
    with pytest.raises(FramingError, match=r"headers that cannot be read|header of an unknown type"):
        cut(framed(headers))


def test_impossible_lengths_are_refused() -> None:
    """Headers longer than the message."""
    prelude = struct.pack(">II", 16, 4)
    with pytest.raises(GarbledMessage, match="impossible lengths"):
        cut(prelude + struct.pack(">I", zlib.crc32(prelude)) + b"\0" * 4)
