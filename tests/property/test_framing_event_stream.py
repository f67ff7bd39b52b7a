"""AWS's event streams: any chunking gives the same events, botocore's parser agrees, and nonsense raises our errors."""

from __future__ import annotations

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import given
from hypothesis import strategies as st

from extproc.framing.base import FramingError
from extproc.framing.event_stream import EventStreamFramer, read_headers
from extproc.framing.sse import Event
from tests.fakes.event_stream import Value, framed, message

LIMIT = 1 << 20
NAMES = st.sampled_from([":message-type", ":event-type", ":exception-type", ":error-code", ":error-message", "x", "é"])
VALUES: st.SearchStrategy[Value] = (
    st.sampled_from(["event", "exception", "error", "chunk", ""])
    | st.text(max_size=5)
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.binary(max_size=5)
)
MESSAGES = st.lists(st.tuples(st.dictionaries(NAMES, VALUES, max_size=4), st.binary(max_size=30)), max_size=5)


def pieces(data: st.DataObject, stream: bytes) -> list[bytes]:
    """The stream, cut anywhere."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8), label="cuts"))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def cut(chunks: list[bytes]) -> tuple[list[Event], bool]:
    """The events, and whether the stream was refused."""
    framer = EventStreamFramer(limit=LIMIT)
    events: list[Event] = []
    try:
        for chunk in chunks:
            events += framer.feed(chunk)
        events += framer.close()
    except FramingError:
        return events, True
    return events, False


def botocore_reads(chunks: list[bytes]) -> tuple[list[tuple[dict[str, Value], bytes]], bool]:
    """The same by AWS's own parser."""
    buffer = EventStreamBuffer()
    read: list[tuple[dict[str, Value], bytes]] = []
    try:
        for chunk in chunks:
            buffer.add_data(chunk)
            for found in buffer:
                read.append((found.headers, found.payload))  # noqa: PERF401 - what came before an error counts
    except (ParserError, UnicodeDecodeError):
        return read, True
    return read, False


@given(messages=MESSAGES, data=st.data())
def test_messages_come_back_as_written(messages: list[tuple[dict[str, Value], bytes]], data: st.DataObject) -> None:
    """Headers and payloads, however the stream is cut; no byte is lost; botocore reads the same."""
    stream = b"".join(message(headers, payload) for headers, payload in messages)
    chunks = pieces(data, stream)
    events, refused = cut(chunks)
    assert not refused
    assert b"".join(event.raw for event in events) == stream
    read, _ = botocore_reads(chunks)
    assert read == messages
    assert [read_headers(event.raw[12 : 12 + int.from_bytes(event.raw[4:8])]) for event in events] == [
        headers for headers, _ in messages
    ]
    errors = [headers.get(":message-type") == "error" for headers, _ in messages]
    assert [event.data for event, error in zip(events, errors, strict=True) if not error] == [
        payload for (_, payload), error in zip(messages, errors, strict=True) if not error
    ]


@given(messages=MESSAGES, data=st.data())
def test_damage_is_found_where_botocore_finds_it(
    messages: list[tuple[dict[str, Value], bytes]], data: st.DataObject
) -> None:
    """One byte changed anywhere, or the end cut off: the same messages are read before it, and none after."""
    stream = bytearray(b"".join(message(headers, payload) for headers, payload in messages))
    if stream:
        stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    chunks = pieces(data, bytes(stream[: data.draw(st.integers(0, len(stream)))]))
    events, refused = cut(chunks)
    read, botocore_refused = botocore_reads(chunks)
    whole = [event for event in events if not event.truncated]
    assert len(whole) == len(read)
    # botocore waits for lengths that it takes for possible; what is left of them is not an end either.
    assert refused or not botocore_refused or len(events) > len(whole)


@given(stream=st.binary(max_size=200), data=st.data())
def test_arbitrary_bytes_raise_only_our_errors(stream: bytes, data: st.DataObject) -> None:
    """``cut`` would let any other error pass; what is no stream never ends well."""
    events, refused = cut(pieces(data, stream))
    assert refused or not stream or events[-1].truncated or len(stream) >= 16


@pytest.mark.parametrize("kind", range(10))
def test_every_type_of_header_is_read_as_botocore_does(kind: int) -> None:
    """Ten types; botocore is the judge of their values."""
    values = [
        b"",
        b"",
        b"\xfe",
        b"\xff\xfe",
        b"\xff\xff\xff\xfe",
        b"\x01" * 8,
        b"\x00\x02ab",
        b"\x00\x02ab",
        b"\x02" * 8,
        b"u" * 16,
    ]
    header = b"\x01h" + bytes([kind]) + values[kind]
    stream = framed(header)
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    (found,) = list(buffer)
    assert read_headers(header) == found.headers
    assert len(EventStreamFramer(limit=LIMIT).feed(stream)) == 1
