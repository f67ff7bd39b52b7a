"""AWS's binary event stream: cut it into messages, with both checksums of each message checked.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html has the layout: a prelude of two lengths
and their CRC-32, headers, payload, and the CRC-32 of all before it.

A message is given as the ``Event`` of ``framing.sse``, so that stream translators read both alike: ``event`` is its
``:event-type``, and ``data`` its payload. One whose ``:message-type`` is an exception or an error is marked ``failed``,
with the exception's name in ``event``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final
from zlib import crc32

from extproc.framing.base import FramingError
from extproc.framing.sse import Event, EventTooLong

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"

_PRELUDE: Final = struct.Struct(">III")
_CHECKSUM: Final = struct.Struct(">I")
_SHORT: Final = struct.Struct(">H")
_SHORTEST: Final = _PRELUDE.size + _CHECKSUM.size
_MOST_HEADER_BYTES: Final = 128 << 10
_BOOLEANS: Final[Mapping[int, bool]] = {0: True, 1: False}
_NUMBERS: Final[Mapping[int, struct.Struct]] = {
    2: struct.Struct(">b"),
    3: struct.Struct(">h"),
    4: struct.Struct(">i"),
    5: struct.Struct(">q"),
    8: struct.Struct(">q"),
}
_BYTES: Final = 6
_STRING: Final = 7
_UUID: Final = 9
_UUID_BYTES: Final = 16

Value = bool | int | bytes | str


class GarbledMessage(FramingError):
    """A message whose lengths, checksums or headers are wrong: from here on nothing can be trusted."""


class EventStreamFramer:
    """A ``Framer[Event]`` whose messages are at most ``limit`` bytes long: that much is held, and no more."""

    __slots__ = ("_failure", "_held", "_limit")

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._failure: FramingError | None = None

    @property
    def holds(self) -> bool:
        """See Framer."""
        return bool(self._held) or self._failure is not None

    def feed(self, chunk: bytes) -> list[Event]:
        """The messages which this chunk completes.

        Raises GarbledMessage or EventTooLong, now and at every later call. Messages before the wrong one are given
        first: then it is the next call that raises.
        """
        if self._failure is not None:
            raise self._failure
        self._held += chunk
        events: list[Event] = []
        start = 0
        try:
            while (end := self._end_of_message(start)) is not None:
                events.append(_read(bytes(self._held[start:end])))
                start = end
        except FramingError as error:
            self._failure = error
            self._held.clear()
            if not events:
                raise
            return events
        del self._held[:start]
        return events

    def close(self) -> list[Event]:
        """The stream has ended: what is held of a message, as a truncated event. Raises where ``feed`` would."""
        if self._failure is not None:
            raise self._failure
        rest = bytes(self._held)
        self._held.clear()
        return [Event(raw=rest, data=b"", truncated=True)] if rest else []

    def _end_of_message(self, start: int) -> int | None:
        """Where the message that begins here ends; None while it is not whole."""
        if len(self._held) - start < _PRELUDE.size:
            return None
        total, headers, checksum = _PRELUDE.unpack_from(self._held, start)
        if crc32(self._held[start : start + _PRELUDE.size - _CHECKSUM.size]) != checksum:
            raise GarbledMessage("a message of the event stream has a prelude with a wrong checksum")
        if total < _SHORTEST or headers > min(total - _SHORTEST, _MOST_HEADER_BYTES):
            raise GarbledMessage("a message of the event stream has impossible lengths")
        if total > self._limit:
            raise EventTooLong(f"a message of the event stream is longer than {self._limit} bytes")
        end = start + int(total)
        return end if end <= len(self._held) else None


def _read(raw: bytes) -> Event:
    """One whole message whose prelude is right."""
    body, (checksum,) = raw[: -_CHECKSUM.size], _CHECKSUM.unpack_from(raw, len(raw) - _CHECKSUM.size)
    if crc32(body) != checksum:
        raise GarbledMessage("a message of the event stream has a wrong checksum")
    _, length, _ = _PRELUDE.unpack_from(raw)
    headers = read_headers(raw[_PRELUDE.size : _PRELUDE.size + length])
    payload = body[_PRELUDE.size + length :]
    match headers.get(":message-type"):
        case "exception":
            return Event(raw=raw, data=payload, event=_name(headers, ":exception-type"), failed=True)
        case "error":
            said = json.dumps({"message": str(headers.get(":error-message", ""))}).encode()
            return Event(raw=raw, data=said, event=_name(headers, ":error-code"), failed=True)
        case _:
            return Event(raw=raw, data=payload, event=_name(headers, ":event-type"))


def _name(headers: Mapping[str, Value], header: str) -> bytes | None:
    value = headers.get(header)
    return value.encode() if isinstance(value, str) and value else None


def read_headers(data: bytes) -> dict[str, Value]:
    """A message's headers, of all ten types. Timestamps are milliseconds, UUIDs bytes. Raises GarbledMessage."""
    headers: dict[str, Value] = {}
    position = 0
    try:
        while position < len(data):
            name, position = _text(data, position + 1, data[position])
            kind = data[position]
            headers[name], position = _value(kind, data, position + 1)
    except (IndexError, struct.error, UnicodeDecodeError):
        raise GarbledMessage("a message of the event stream has headers that cannot be read") from None
    return headers


def _value(kind: int, data: bytes, position: int) -> tuple[Value, int]:
    if kind in _BOOLEANS:
        return _BOOLEANS[kind], position
    if kind in _NUMBERS:
        (number,) = _NUMBERS[kind].unpack_from(data, position)
        return number, position + _NUMBERS[kind].size
    if kind == _UUID:
        return _bytes(data, position, _UUID_BYTES)
    read: Callable[[bytes, int, int], tuple[Any, int]] | None = {_BYTES: _bytes, _STRING: _text}.get(kind)
    if read is None:
        raise GarbledMessage("a message of the event stream has a header of an unknown type")
    (length,) = _SHORT.unpack_from(data, position)
    return read(data, position + _SHORT.size, length)


def _bytes(data: bytes, position: int, length: int) -> tuple[bytes, int]:
    end = position + length
    if end > len(data):
        raise IndexError
    return data[position:end], end


def _text(data: bytes, position: int, length: int) -> tuple[str, int]:
    found, end = _bytes(data, position, length)
    return found.decode(), end
