"""Server-sent events: the corner cases of the WHATWG specification, and what this framer adds to it."""

from __future__ import annotations

import pytest

from extproc.framing.sse import Event, EventTooLong, SseFramer, encode_event

_LIMIT = 1_000
_BOM = b"\xef\xbb\xbf"


def _all_events(chunks: list[bytes], limit: int = _LIMIT) -> list[Event]:
    framer = SseFramer(limit=limit)
    return [event for chunk in chunks for event in framer.feed(chunk)] + framer.close()


def _single_bytes(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"data: a\n\n", [(b"data: a\n\n", b"a", None)], id="lf"),
        pytest.param(b"data: a\r\n\r\n", [(b"data: a\r\n\r\n", b"a", None)], id="crlf"),
        pytest.param(b"data: a\r\r", [(b"data: a\r\r", b"a", None)], id="cr"),
        pytest.param(b"data: a\n\r\n", [(b"data: a\n\r\n", b"a", None)], id="lf-then-crlf"),
        pytest.param(b"data: a\r\r\n", [(b"data: a\r\r\n", b"a", None)], id="cr-then-crlf"),
        pytest.param(b"data: a\r\n\n", [(b"data: a\r\n\n", b"a", None)], id="crlf-then-lf"),
        pytest.param(b"data: a\n\r", [(b"data: a\n\r", b"a", None)], id="lf-then-cr"),
        pytest.param(
            b"data: a\r\rdata: b\r\r",
            [(b"data: a\r\r", b"a", None), (b"data: b\r\r", b"b", None)],
            id="two-with-cr",
        ),
        pytest.param(
            b"data: a\n\n: x\n\ndata: b\n\n",
            [(b"data: a\n\n", b"a", None), (b": x\n\n", b"", None), (b"data: b\n\n", b"b", None)],
            id="comment-between",
        ),
        pytest.param(b":\n\n", [(b":\n\n", b"", None)], id="empty-comment"),
        pytest.param(b": a\ndata: b\n\n", [(b": a\ndata: b\n\n", b"b", None)], id="comment-inside"),
        pytest.param(
            b"\n\ndata: a\n\n\n",
            [(b"\n", b"", None), (b"\n", b"", None), (b"data: a\n\n", b"a", None), (b"\n", b"", None)],
            id="stray-blank-lines",
        ),
        pytest.param(
            b"data: a\n\n\ndata: b\n\n",
            [(b"data: a\n\n", b"a", None), (b"\n", b"", None), (b"data: b\n\n", b"b", None)],
            id="stray-blank-line-between",
        ),
        pytest.param(
            b"data: a\n\n\n\ndata: b\n\n",
            [(b"data: a\n\n", b"a", None), (b"\n", b"", None), (b"\n", b"", None), (b"data: b\n\n", b"b", None)],
            id="two-stray-blank-lines-between",
        ),
        pytest.param(b"data:a\n\n", [(b"data:a\n\n", b"a", None)], id="no-space"),
        pytest.param(b"data:  a \n\n", [(b"data:  a \n\n", b" a ", None)], id="only-one-space-goes"),
        pytest.param(b"data:\ta\n\n", [(b"data:\ta\n\n", b"\ta", None)], id="a-tab-is-no-space"),
        pytest.param(b"data:\n\n", [(b"data:\n\n", b"", None)], id="empty-data"),
        pytest.param(b"data\n\n", [(b"data\n\n", b"", None)], id="data-without-colon"),
        pytest.param(b"data\ndata\n\n", [(b"data\ndata\n\n", b"\n", None)], id="two-lines-without-colon"),
        pytest.param(b"data: a\ndata: b\n\n", [(b"data: a\ndata: b\n\n", b"a\nb", None)], id="two-lines"),
        pytest.param(
            b"data: a\r\ndata: b\r\n\r\n", [(b"data: a\r\ndata: b\r\n\r\n", b"a\nb", None)], id="two-crlf-lines"
        ),
        pytest.param(b"data: a\n\n" * 2, [(b"data: a\n\n", b"a", None)] * 2, id="two-events"),
        pytest.param(b"data: a: b\n\n", [(b"data: a: b\n\n", b"a: b", None)], id="colon-in-data"),
        pytest.param(b"Data: a\n\n", [(b"Data: a\n\n", b"", None)], id="names-have-case"),
        pytest.param(b" data: a\n\n", [(b" data: a\n\n", b"", None)], id="names-are-not-stripped"),
        pytest.param(b"x: y\nz\ndata: a\n\n", [(b"x: y\nz\ndata: a\n\n", b"a", None)], id="unknown-fields"),
        pytest.param(b"event: e\ndata: a\n\n", [(b"event: e\ndata: a\n\n", b"a", b"e")], id="type"),
        pytest.param(b"data: a\nevent:e\n\n", [(b"data: a\nevent:e\n\n", b"a", b"e")], id="type-after-data"),
        pytest.param(
            b"event: e\nevent\ndata: a\n\n", [(b"event: e\nevent\ndata: a\n\n", b"a", None)], id="last-type-wins"
        ),
        pytest.param(
            b"event: e\ndata: a\n\ndata: b\n\n",
            [(b"event: e\ndata: a\n\n", b"a", b"e"), (b"data: b\n\n", b"b", None)],
            id="a-type-is-for-one-event",
        ),
        pytest.param(b"id: 7\nretry: 9\n\n", [(b"id: 7\nretry: 9\n\n", b"", None)], id="reconnection-fields"),
        pytest.param(_BOM + b"data: a\n\n", [(_BOM + b"data: a\n\n", b"a", None)], id="bom"),
        pytest.param(
            _BOM + b"\ndata: a\n\n", [(_BOM + b"\n", b"", None), (b"data: a\n\n", b"a", None)], id="bom-and-blank"
        ),
        pytest.param(_BOM * 2 + b"data: a\n\n", [(_BOM * 2 + b"data: a\n\n", b"", None)], id="two-boms"),
        pytest.param(
            b"data: a\n\n" + _BOM + b"data: b\n\n",
            [(b"data: a\n\n", b"a", None), (_BOM + b"data: b\n\n", b"", None)],
            id="bom-later-is-a-name",
        ),
        pytest.param(b"data: \xe2\x82\xac\n\n", [(b"data: \xe2\x82\xac\n\n", "€".encode(), None)], id="utf-8"),
        pytest.param(b"data: \xff\n\n", [(b"data: \xff\n\n", b"\xff", None)], id="not-utf-8"),
        pytest.param(
            "data: a\u2028b\x0bc\x85\n\n".encode(),
            [("data: a\u2028b\x0bc\x85\n\n".encode(), "a\u2028b\x0bc\x85".encode(), None)],
            id="other-line-ends-are-text",
        ),
    ],
)
def test_events_when_fed_whole_or_byte_by_byte_after_anything(
    stream: bytes, expected: list[tuple[bytes, bytes, bytes | None]]
) -> None:
    """Each case as one chunk and as single bytes, at the start of a stream and, where no BOM leads it, later."""
    events = [Event(raw=raw, data=data, event=event) for raw, data, event in expected]
    assert _all_events([stream]) == events
    assert _all_events(_single_bytes(stream)) == events
    if not stream.startswith(_BOM):
        before = b": hello\n\n"
        later = [Event(raw=before, data=b""), *events]
        assert _all_events([before, stream]) == later
        assert _all_events([before, *_single_bytes(stream)]) == later
        assert _all_events([before + stream]) == later


@pytest.mark.parametrize(
    ("stream", "raw", "data"),
    [
        pytest.param(b"data: a", b"data: a\n\n", b"a", id="no-line-end"),
        pytest.param(b"data: a\n", b"data: a\n\n", b"a", id="no-blank-line"),
        pytest.param(b"data: a\r\n", b"data: a\r\n\n", b"a", id="no-blank-line-crlf"),
        pytest.param(b"data: a\r", b"data: a\r\n\n", b"a", id="no-blank-line-cr"),
        pytest.param(b'data: {"a', b'data: {"a\n\n', b'{"a', id="cut-inside-data"),
        pytest.param(b"dat", b"dat\n\n", b"", id="cut-inside-name"),
        pytest.param(b": ping", b": ping\n\n", b"", id="comment"),
        pytest.param(_BOM + b"data: a", _BOM + b"data: a\n\n", b"a", id="bom"),
        pytest.param(_BOM[:2], _BOM[:2] + b"\n\n", b"", id="cut-inside-bom"),
    ],
)
def test_close_completes_an_event_when_the_stream_cut_it_off(stream: bytes, raw: bytes, data: bytes) -> None:
    """Its bytes may go on to a client, and another event after them; only its reader knows if the data is whole."""
    cut_off = Event(raw=raw, data=data, truncated=True)
    assert _all_events([stream]) == [cut_off]
    assert _all_events(_single_bytes(stream)) == [cut_off]
    assert _all_events([raw + encode_event(b"next")]) == [
        Event(raw=raw, data=data),
        Event(raw=b"data: next\n\n", data=b"next"),
    ]


def test_close_gives_nothing_when_called_again() -> None:
    """What was held is given once."""
    framer = SseFramer(limit=_LIMIT)
    assert framer.feed(b"data: a") == []
    assert len(framer.close()) == 1
    assert framer.close() == []


def test_event_is_given_at_once_when_its_blank_line_came() -> None:
    """A token does not wait for the next one."""
    framer = SseFramer(limit=_LIMIT)
    assert framer.feed(b"data: a\r\n\r") == []
    assert framer.feed(b"\n") == [Event(raw=b"data: a\r\n\r\n", data=b"a")]
    assert framer.feed(b"data: b\n\nda") == [Event(raw=b"data: b\n\n", data=b"b")]
    assert framer.feed(b"ta: c\n\n") == [Event(raw=b"data: c\n\n", data=b"c")]


@pytest.mark.parametrize(
    "blank_line", [pytest.param(b"\n\n", id="lf"), pytest.param(b"\r\n\r\n", id="crlf"), pytest.param(b"\r\r", id="cr")]
)
def test_limit_counts_the_whole_event_when_it_is_reached(blank_line: bytes) -> None:
    """Exactly `limit` bytes pass and one more does not, however they are cut; events before it are not lost."""
    longest = b"data: ".ljust(_LIMIT - len(blank_line), b"x") + blank_line
    short = b"data: a\n\n"
    assert [event.raw for event in _all_events([short, longest])] == [short, longest]
    assert [event.raw for event in _all_events(_single_bytes(short + longest))] == [short, longest]
    for chunks in ([short + b"data:y" + longest], [short, b"data:y" + longest], _single_bytes(short + b"y" + longest)):
        framer = SseFramer(limit=_LIMIT)
        seen: list[bytes] = []
        with pytest.raises(EventTooLong, match="longer than 1000 bytes"):
            seen.extend(event.raw for chunk in [*chunks, b""] for event in framer.feed(chunk))
        assert seen == [short]
        with pytest.raises(EventTooLong):
            framer.feed(short)
        with pytest.raises(EventTooLong):
            framer.close()


def test_many_chunks_take_little_time_when_one_event_spans_them() -> None:
    """A held event is searched once, not again for every chunk: a megabyte in ten-byte chunks is no trouble."""
    data = b"x" * (1 << 20)
    stream = b"data: " + data + b"\n\n"
    events = _all_events([stream[at : at + 10] for at in range(0, len(stream), 10)], limit=2 << 20)
    assert events == [Event(raw=stream, data=data)]


@pytest.mark.parametrize(
    ("data", "event", "expected"),
    [
        pytest.param(b"{}", None, b"data: {}\n\n", id="data"),
        pytest.param(b"{}", b"ping", b"event: ping\ndata: {}\n\n", id="type"),
        pytest.param(b"", None, b"data: \n\n", id="empty"),
        pytest.param(b" a", None, b"data:  a\n\n", id="leading-space"),
        pytest.param(b"a\nb\n", None, b"data: a\ndata: b\ndata: \n\n", id="lines"),
        pytest.param(b"a\r\nb\rc", None, b"data: a\ndata: b\ndata: c\n\n", id="other-line-ends"),
    ],
)
def test_encode_event_writes_lines_when_given_data(data: bytes, event: bytes | None, expected: bytes) -> None:
    """What is written is read back as the same data."""
    assert encode_event(data, event) == expected
    read = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert _all_events([expected]) == [Event(raw=expected, data=read, event=event)]


@pytest.mark.parametrize("event", [pytest.param(b"a\nb", id="lf"), pytest.param(b"a\rb", id="cr")])
def test_encode_event_refuses_a_type_when_it_holds_a_line_end(event: bytes) -> None:
    """A type cannot smuggle a field in."""
    with pytest.raises(ValueError, match="one line"):
        encode_event(b"{}", event)
