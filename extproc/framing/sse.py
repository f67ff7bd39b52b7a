"""Server-sent events: cut a stream into events without losing a byte, and write events.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream (lines end in LF, CRLF or CR, a
blank line ends an event, one byte order mark may lead the stream), with these choices where a gateway is no browser:

- No byte is lost: ``raw`` of all events, joined, is the input. What a browser skips (comments, stray blank lines,
  blocks without data) are events whose ``data`` is empty.
- An event which the stream's end cut off is not discarded, since some providers leave out the last blank line:
  ``close`` gives it as ``truncated``, with the missing line ends added to ``raw`` so that another event may follow.
  Whether its data is whole is for its reader to tell, by parsing it.
- The fields ``id`` and ``retry`` stay in ``raw``: nobody resumes the stream of a model's reply.
- A CR that is the newest byte waits for the byte after it, which may be the LF of a CRLF.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from extproc.framing.base import FramingError

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_LINE_FEED: Final = 0x0A
_CARRIAGE_RETURN: Final = 0x0D
_BLANK_LINE: Final = re.compile(rb"\n|\r\n?")
_LINE_END_AND_BLANK_LINE: Final = re.compile(rb"\n(?:\n|\r\n?)|\r\r\n?")


class EventTooLong(FramingError):
    """An event is longer than the framer may hold."""


@dataclass(slots=True, kw_only=True)
class Event:
    """One block of the stream, up to and including its blank line.

    ``raw`` is its bytes; ``data`` its data lines joined by LF, empty when it has none; ``event`` its type, None when
    absent or empty; ``truncated`` says that the stream ended before its blank line. ``failed`` says that the framing
    itself marks it as an error, which only ``framing.event_stream`` knows. Nobody changes one; that nobody could would
    double what it costs to make, once for each chunk of every stream.
    """

    raw: bytes
    data: bytes
    event: bytes | None = None
    truncated: bool = False
    failed: bool = False


class SseFramer:
    """A ``Framer[Event]`` whose events are at most ``limit`` bytes long: that much is held, and no more."""

    __slots__ = ("_began", "_failure", "_held", "_limit", "_searched")

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._searched = 0  # how many of the held bytes are known not to begin an event's end
        self._began = False  # whether the place where a byte order mark may stand is past
        self._failure: EventTooLong | None = None

    @property
    def holds(self) -> bool:
        """See Framer."""
        return bool(self._held) or self._failure is not None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events which this chunk completes.

        Raises EventTooLong, now and at every later call. Events before the long one are given first: then it is the
        next call that raises.
        """
        if self._failure is not None:
            raise self._failure
        if self._began and not self._held and _CARRIAGE_RETURN not in chunk and len(chunk) <= self._limit:
            whole = _read_whole_blocks(chunk)
            if whole is not None:
                return whole
        self._held += chunk
        return self._cut(ended=False)

    def close(self) -> list[Event]:
        """The stream has ended: what is held, as a truncated event. Raises EventTooLong where ``feed`` would."""
        if self._failure is not None:
            raise self._failure
        events = self._cut(ended=True)
        if self._held:
            rest = bytes(self._held)
            line_ends = b"\n" if rest.endswith(b"\n") else b"\n\n"
            events.append(self._read(rest + line_ends, truncated=True))
            self._held.clear()
        return events

    def _cut(self, *, ended: bool) -> list[Event]:
        events: list[Event] = []
        held = self._held
        start = 0
        while (end := self._end_of_event(start, ended=ended)) is not None:
            if end - start > self._limit:
                break
            events.append(self._read(bytes(held[start:end])))
            start = end
        del held[:start]
        # The last two bytes may be the beginning of an end: LF CR, before another LF.
        self._searched = max(0, len(held) - 2)
        if len(held) > self._limit:
            self._failure = EventTooLong(f"an event of the stream is longer than {self._limit} bytes")
            held.clear()
            if not events:
                raise self._failure
        return events

    def _end_of_event(self, start: int, *, ended: bool) -> int | None:
        held = self._held
        first = start
        if not self._began and held.startswith(_BYTE_ORDER_MARK):
            first = start + len(_BYTE_ORDER_MARK)
        match = _BLANK_LINE.match(held, first) or _LINE_END_AND_BLANK_LINE.search(held, max(first, self._searched))
        if match is None:
            return None
        end = match.end()
        undecided = end == len(held) and held[-1] == _CARRIAGE_RETURN and not ended
        return None if undecided else end

    def _read(self, raw: bytes, *, truncated: bool = False) -> Event:
        lines = raw if self._began else raw.removeprefix(_BYTE_ORDER_MARK)
        self._began = True
        return _read_lines(raw, lines.splitlines(), truncated=truncated)


def encode_event(data: bytes, event: bytes | None = None) -> bytes:
    """One event as bytes, with LF line ends. A CR in ``data`` cannot be written and becomes an LF.

    Raises ValueError when ``event`` holds a line end.
    """
    name = b""
    if event is not None:
        if b"\n" in event or b"\r" in event:
            raise ValueError("an event's type is one line")
        name = b"event: " + event + b"\n"
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    return name + b"data: " + data + b"\n\n"


def _read_whole_blocks(chunk: bytes) -> list[Event] | None:
    """The events of a chunk which is nothing but whole blocks with LF line ends, as nearly every chunk is; else None.

    ``SseFramer._cut`` would cut it in the same places, at several times the cost.
    """
    if chunk[:6] == b"data: " and chunk.find(b"\n") == len(chunk) - 2 and chunk[-1] == _LINE_FEED:
        return [Event(raw=chunk, data=chunk[6:-2])]
    blocks = chunk.split(b"\n\n")
    if blocks.pop():
        return None
    events: list[Event] = []
    for block in blocks:
        if block[:6] == b"data: " and _LINE_FEED not in block:
            events.append(Event(raw=block + b"\n\n", data=block[6:]))
        elif not block or block[0] == _LINE_FEED:
            return None
        else:
            events.append(_read_lines(block + b"\n\n", block.split(b"\n")))
    return events


def _read_lines(raw: bytes, lines: list[bytes], *, truncated: bool = False) -> Event:
    data: list[bytes] = []
    event = b""
    for line in lines:
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            event = value.removeprefix(b" ")
    return Event(raw=raw, data=b"\n".join(data), event=event or None, truncated=truncated)
