"""Server-sent events: however a stream is cut into chunks, the events are the same and no byte is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extproc.framing.sse import Event, EventTooLong, SseFramer, encode_event

# Streams made of the pieces at which a framer can go wrong.
_STREAMS = st.lists(
    st.sampled_from(
        [b"data: a", b"data", b"data:", b": c", b"event: e", b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"x"]
    )
    | st.binary(max_size=3),
    max_size=30,
).map(b"".join)


def _chunks(data: st.DataObject, stream: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8), label="cuts"))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def _cut(chunks: list[bytes], limit: int) -> tuple[list[Event], bool]:
    """The events, and whether the stream was refused."""
    framer = SseFramer(limit=limit)
    events: list[Event] = []
    try:
        for chunk in chunks:
            events += framer.feed(chunk)
        events += framer.close()
    except EventTooLong:
        return events, True
    return events, False


def _browser_would_dispatch(stream: bytes) -> list[tuple[bytes, bytes]]:
    """The specification's algorithm read aloud: (type, data) of every event, the one without a blank line too."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    dispatched: list[tuple[bytes, bytes]] = []
    data: list[bytes] = []
    event = b""
    for line in [*text.split(b"\n"), b""]:
        if not line:
            if data:
                dispatched.append((event, b"\n".join(data)))
            data, event = [], b""
            continue
        name, value = line.split(b":", 1) if b":" in line else (line, b"")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
    return dispatched


@given(stream=_STREAMS, data=st.data())
def test_events_are_the_same_when_chunked_anyhow(stream: bytes, data: st.DataObject) -> None:
    """Whole, cut at random and byte by byte: the same events, holding every byte."""
    events, refused = _cut([stream], limit=1_000)
    assert not refused
    assert _cut(_chunks(data, stream), limit=1_000) == (events, False)
    assert _cut([stream[at : at + 1] for at in range(len(stream))], limit=1_000) == (events, False)
    raw = b"".join(event.raw for event in events)
    assert not any(event.truncated for event in events[:-1])
    added = (b"\n", b"\n\n") if events and events[-1].truncated else (b"",)
    assert raw.startswith(stream)
    assert raw[len(stream) :] in added


@given(stream=_STREAMS)
def test_events_are_a_browsers_when_read_by_the_specification(stream: bytes) -> None:
    """The events with data are those of an independent reading of the specification, in order."""
    expected = [(event, data) for event, data in _browser_would_dispatch(stream) if data]
    events, _ = _cut([stream], limit=1_000)
    assert [(event.event or b"", event.data) for event in events if event.data] == expected


@given(stream=_STREAMS, limit=st.integers(1, 20), data=st.data())
def test_limit_refuses_the_same_when_chunked_anyhow(stream: bytes, limit: int, data: st.DataObject) -> None:
    """The same events come before the refusal, and none of them is over the limit."""
    events, refused = _cut([stream, b""], limit=limit)
    assert _cut([*_chunks(data, stream), b""], limit=limit) == (events, refused)
    assert all(len(event.raw) <= limit for event in events if not event.truncated)


@given(contents=st.lists(st.tuples(st.binary(), st.binary().filter(lambda name: not {10, 13} & set(name)) | st.none())))
def test_encoded_events_are_read_back_when_cut_again(contents: list[tuple[bytes, bytes | None]]) -> None:
    """Whatever the data, apart from the CR which the format cannot hold."""
    stream = b"".join(encode_event(data, event) for data, event in contents)
    events, _ = _cut([stream], limit=len(stream) + 1)
    assert [(event.data, event.event) for event in events] == [
        (data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), event or None) for data, event in contents
    ]
