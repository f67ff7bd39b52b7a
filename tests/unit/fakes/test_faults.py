"""Each fault, seen by a client that sees every byte and how the connection ended."""

from __future__ import annotations

import json
import ssl
import threading
import time
from typing import Any, cast

import httpx
import pytest

from tests.fakes import (
    Chunking,
    CloseBeforeHeaders,
    CloseDelimited,
    ContentFilter,
    ContextLengthExceeded,
    CutAfter,
    CutAt,
    Edited,
    Encoded,
    ErrorAfter,
    ErrorFirstEvent,
    ErrorInBody,
    ExtraHeaders,
    FakeProvider,
    Fault,
    GarbleAfter,
    HeadersThenSilence,
    HeldBack,
    KeepAliveComments,
    NotHttp,
    ProviderError,
    RateLimited,
    Recorded,
    ResetBeforeHeaders,
    Silence,
    SlowEvents,
    StallAfter,
    Status,
    Trailers,
    WrongLength,
)
from tests.fakes.raw_client import Ending, RawClient

CHAT = {"model": "m", "messages": [{"role": "user", "content": "one two three"}]}
STREAM = {**CHAT, "stream": True}
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares every request the loading of the system's authorities
PATIENCE = 0.3  # seconds without a byte after which the fake is held to be silent


def raw(fault: Fault, body: dict[str, Any] = STREAM, *, then_silent: bytes | None = None) -> Ending:
    """Everything that one request meets: to the connection's end, or to these bytes and a silence behind them."""
    with FakeProvider(name="a") as fake, RawClient(fake.port) as client:
        fake.script = [fault]
        client.post("/v1/chat/completions", body, "connection: close")
        if then_silent is None:
            return client.read_to_end()
        seen = client.read_until(then_silent) if then_silent else b""
        rest = client.read_to_end(patience=PATIENCE)
        return Ending(seen + rest.data, rest.how)


def fetched(fault: Fault | None, body: dict[str, Any] = STREAM) -> httpx.Response:
    """The reply as an HTTP client understands it."""
    with FakeProvider(name="a") as fake:
        fake.script = [fault]
        return httpx.post(f"{fake.url}/chat/completions", json=body, trust_env=False, verify=NO_TLS)


def events(text: str) -> list[str]:
    """The events of a stream, comments included."""
    return text.split("\n\n")[:-1]


HEALTHY = events(fetched(None).text)
WHOLE = fetched(None, CHAT).content


def test_healthy_stream_has_role_text_end_and_done() -> None:
    """What the counts below refer to: the role, five pieces, the finish reason, [DONE]."""
    assert len(HEALTHY) == 8
    assert HEALTHY[-1] == "data: [DONE]"


@pytest.mark.parametrize(
    ("fault", "how"),
    [
        pytest.param(ResetBeforeHeaders(), "reset", id="reset"),
        pytest.param(CloseBeforeHeaders(), "fin", id="closed"),
    ],
)
def test_not_a_byte_comes_when_the_fault_is_before_the_headers(fault: Fault, how: str) -> None:
    """The request was read, and the connection ends so."""
    ending = raw(fault)
    assert (ending.data, ending.how) == (b"", how)


def test_not_a_byte_comes_when_silent() -> None:
    """And the connection stays."""
    assert raw(Silence(), then_silent=b"") == Ending(b"", "timeout")


def test_reply_comes_late_when_the_silence_ends() -> None:
    """A slow provider is not a dead one."""
    started = time.monotonic()
    assert events(fetched(Silence(0.2)).text) == HEALTHY
    assert time.monotonic() - started >= 0.2


def test_reply_is_held_back_until_the_test_lets_it_go() -> None:
    """And then comes as if nothing had been."""
    event = threading.Event()
    with FakeProvider(name="a") as fake, RawClient(fake.port) as client:
        fake.script = [HeldBack(event)]
        client.post("/v1/chat/completions", CHAT, "connection: close")
        fake.wait_for(lambda fake: fake.active == 1)
        with pytest.raises(TimeoutError):
            fake.wait_for(lambda fake: fake.active == 0, 0.1)
        event.set()
        assert b"HTTP/1.1 200 OK" in client.read_to_end().data


def test_bytes_are_no_http_when_garbled_before_the_headers() -> None:
    """Then the connection ends."""
    assert raw(NotHttp(b"hello?\r\n\r\n")) == Ending(b"hello?\r\n\r\n", "fin")


@pytest.mark.parametrize(
    ("body", "kind"),
    [pytest.param(STREAM, b"text/event-stream", id="stream"), pytest.param(CHAT, b"application/json", id="json")],
)
def test_only_headers_come_when_silent_after_them(body: dict[str, Any], kind: bytes) -> None:
    """They announce the reply that never comes."""
    ending = raw(HeadersThenSilence(), body, then_silent=b"\r\n\r\n")
    assert ending.how == "timeout"
    assert ending.data.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: " + kind)
    assert ending.data.endswith(b"\r\n\r\n")
    assert ending.data.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize(
    ("fault", "count", "how"),
    [
        pytest.param(StallAfter(events=3), 3, "timeout", id="stall"),
        pytest.param(StallAfter(events=0), 0, "timeout", id="stall at once"),
        pytest.param(CutAfter(events=3, how="reset"), 3, "reset", id="reset"),
        pytest.param(CutAfter(events=3, how="fin"), 3, "fin", id="fin"),
        pytest.param(CutAfter(events=7, how="reset", pause=0.05), 7, "reset", id="reset before done"),
    ],
)
def test_exactly_these_events_come_when_the_stream_breaks(fault: Fault, count: int, how: str) -> None:
    """Not one byte more or less, and no end of the chunked body."""
    expected = b"".join(
        b"%x\r\n%b\r\n" % (len(event) + 2, event + b"\n\n") for event in (text.encode() for text in HEALTHY[:count])
    )
    ending = raw(fault, then_silent=b"\r\n\r\n" + expected if how == "timeout" else None)
    head, _, body = ending.data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert len(body) == len(expected)
    assert body == expected
    assert ending.how == how


def test_stream_goes_on_when_the_stall_ends() -> None:
    """Every event comes."""
    started = time.monotonic()
    assert events(fetched(StallAfter(events=3, seconds=0.2)).text) == HEALTHY
    assert time.monotonic() - started >= 0.2


def test_stream_looks_whole_when_cut_cleanly() -> None:
    """Only [DONE] and the end of the text are missing."""
    ending = raw(CutAfter(events=3, how="clean"))
    assert ending.how == "fin"
    assert ending.data.endswith(b"\r\n0\r\n\r\n")
    assert events(fetched(CutAfter(events=3, how="clean")).text) == HEALTHY[:3]


@pytest.mark.parametrize("how", ["reset", "fin"])
def test_body_ends_at_the_byte_when_cut_there(how: Any) -> None:
    """In the midst of a JSON document, whose announced length is the whole one's."""
    ending = raw(CutAt(100, how), CHAT)
    head, _, body = ending.data.partition(b"\r\n\r\n")
    assert f"content-length: {len(WHOLE)}\r\n".encode() in head
    assert body == WHOLE[:100]
    assert ending.how == how


def test_event_ends_in_its_midst_when_cut_at_a_byte() -> None:
    """Ten bytes into the second event."""
    ending = raw(CutAt(len(HEALTHY[0]) + 2 + 10, "fin"))
    assert ending.data.endswith(b"a\r\n" + HEALTHY[1][:10].encode() + b"\r\n")


def test_one_line_is_no_json_when_garbled() -> None:
    """The rest goes on as if nothing had happened."""
    got = events(fetched(GarbleAfter(events=2)).text)
    assert [*got[:2], *got[3:]] == HEALTHY
    with pytest.raises(json.JSONDecodeError):
        json.loads(got[2].removeprefix("data: "))


def test_error_is_the_last_event_when_it_comes_midway() -> None:
    """Without [DONE], unless asked for."""
    error = ProviderError("boom", "server_error", 502)
    wanted = 'data: {"error":{"message":"boom","type":"server_error","param":null,"code":502}}'
    assert events(fetched(ErrorAfter(2, error)).text) == [*HEALTHY[:2], wanted]
    assert events(fetched(ErrorAfter(2, error, then="done")).text) == [*HEALTHY[:2], wanted, "data: [DONE]"]


def test_error_is_the_first_event_when_the_stream_never_begins() -> None:
    """Perhaps behind signs of life."""
    reply = fetched(ErrorFirstEvent(comments=2))
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    *comments, error = events(reply.text)
    assert comments == [": keep-alive", ": keep-alive"]
    assert json.loads(error.removeprefix("data: "))["error"]["code"] == "overloaded"


@pytest.mark.parametrize("body", [pytest.param(STREAM, id="stream"), pytest.param(CHAT, id="json")])
def test_error_is_in_the_body_of_a_200_when_asked_for(body: dict[str, Any]) -> None:
    """JSON, also where a stream was asked for."""
    reply = fetched(ErrorInBody(), body)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["error"]["type"] == "server_error"


@pytest.mark.parametrize(
    ("fault", "status", "kind", "content"),
    [
        pytest.param(Status(503), 503, "application/json", b'"code": "overloaded"', id="usual error"),
        pytest.param(Status(500), 500, "application/json", b'"type": "server_error"', id="usual server error"),
        pytest.param(Status(418), 418, "application/json", b'"invalid_request_error"', id="usual client error"),
        pytest.param(Status(502, "<h1>Bad</h1>"), 502, "text/html; charset=utf-8", b"<h1>Bad</h1>", id="html"),
        pytest.param(Status(400, {"detail": "no"}), 400, "application/json", b'"detail": "no"', id="json"),
        pytest.param(Status(504, b""), 504, None, b"", id="empty"),
        pytest.param(Status(529, b"{}", {"content-type": "a/b"}), 529, "a/b", b"{}", id="bytes"),
        pytest.param(
            ContextLengthExceeded(limit=10), 400, "application/json", b"context_length_exceeded", id="context"
        ),
        pytest.param(ContentFilter(), 400, "application/json", b"content_filter", id="filter"),
    ],
)
def test_status_and_body_are_as_told_when_refused(fault: Fault, status: int, kind: str | None, content: bytes) -> None:
    """JSON, HTML, bytes or nothing."""
    reply = fetched(fault)
    assert reply.status_code == status
    assert reply.headers.get("content-type") == kind
    assert content in reply.content
    assert int(reply.headers["content-length"]) == len(reply.content)


@pytest.mark.parametrize(
    ("retry_after", "header"),
    [
        pytest.param(None, None, id="none"),
        pytest.param(2, "2", id="seconds"),
        pytest.param(0.5, "0.5", id="fraction"),
        pytest.param("Wed, 21 Oct 2099 07:28:00 GMT", "Wed, 21 Oct 2099 07:28:00 GMT", id="date"),
    ],
)
def test_retry_after_is_sent_when_rate_limited(retry_after: float | str | None, header: str | None) -> None:
    """As given, or not at all."""
    reply = fetched(RateLimited(retry_after))
    assert reply.status_code == 429
    assert reply.headers.get("retry-after") == header
    assert reply.json()["error"]["code"] == "rate_limit_exceeded"


def test_events_come_slowly_when_told_to() -> None:
    """Seven pauses between eight events."""
    started = time.monotonic()
    assert events(fetched(SlowEvents(0.03)).text) == HEALTHY
    assert time.monotonic() - started >= 0.21


def test_comments_come_before_the_events_when_kept_alive() -> None:
    """Before each, or only before the first."""
    each = events(fetched(KeepAliveComments()).text)
    assert each[0::2] == [": keep-alive"] * 8
    assert each[1::2] == HEALTHY
    assert events(fetched(KeepAliveComments(count=3, before="first")).text) == [": keep-alive"] * 3 + HEALTHY


def test_empty_lines_come_before_json_when_kept_alive() -> None:
    """What comments are to a stream."""
    assert fetched(KeepAliveComments(count=2), CHAT).content == b"\n\n" + WHOLE


def test_documents_are_edited_when_asked_for() -> None:
    """Every chunk or the whole body; None leaves it out, and [DONE] stays."""

    def without_text(document: dict[str, Any]) -> dict[str, Any] | None:
        return document if document["choices"][0]["finish_reason"] else None

    def without_usage(document: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in document.items() if name != "usage"}

    assert events(fetched(Edited(without_text)).text) == HEALTHY[-2:]
    reply = fetched(Edited(without_usage), CHAT)
    assert reply.json() == {name: value for name, value in json.loads(WHOLE).items() if name != "usage"}


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("body", [pytest.param(STREAM, id="stream"), pytest.param(CHAT, id="json")])
@pytest.mark.parametrize("sizes", [None, (1,), (2, 3, 50)])
def test_content_is_the_same_when_encoded_and_cut(
    coding: Any, body: dict[str, Any], sizes: tuple[int, ...] | None
) -> None:
    """The HTTP client decodes gzip, br and zstd by itself."""
    reply = fetched(Encoded(coding) | Chunking(sizes) if sizes else Encoded(coding), body)
    assert reply.headers["content-encoding"] == coding
    assert reply.content == ("\n\n".join(HEALTHY) + "\n\n").encode() if body is STREAM else WHOLE


@pytest.mark.parametrize("body", [pytest.param(STREAM, id="stream"), pytest.param(CHAT, id="json")])
def test_content_ends_with_the_connection_when_close_delimited(body: dict[str, Any]) -> None:
    """Neither content-length nor chunks."""
    reply = fetched(CloseDelimited(), body)
    assert not {"content-length", "transfer-encoding"} & set(reply.headers)
    assert reply.content == ("\n\n".join(HEALTHY) + "\n\n").encode() if body is STREAM else WHOLE


def test_trailers_follow_when_asked_for() -> None:
    """Behind the last chunk."""
    assert raw(Trailers({"x-usage": "7"})).data.endswith(b"\r\n0\r\nx-usage: 7\r\n\r\n")


@pytest.mark.parametrize("error", [10, -10])
def test_length_is_wrong_when_told_to(error: int) -> None:
    """All bytes come all the same, and then the end."""
    ending = raw(WrongLength(error), CHAT)
    head, _, body = ending.data.partition(b"\r\n\r\n")
    assert f"content-length: {len(WHOLE) + error}\r\n".encode() in head
    assert body == WHOLE
    assert ending.how == "fin"


def test_headers_are_added_when_asked_for() -> None:
    """In place of those of the same name."""
    reply = fetched(ExtraHeaders({"set-cookie": "a=b", "openai-version": "x"}))
    assert reply.headers["set-cookie"] == "a=b"
    assert reply.headers.get_list("openai-version") == ["x"]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Chunking([]), id="no sizes"),
        pytest.param(lambda: Chunking([3, 0]), id="empty chunk"),
        pytest.param(lambda: Encoded(cast("Any", "lzma")), id="unknown coding"),
    ],
)
def test_fault_is_refused_when_it_makes_no_sense(make: Any) -> None:
    """Where the test writes it, not in the fake's thread."""
    with pytest.raises(ValueError, match=r"chunks hold|unknown content coding"):
        make()


def test_cut_fails_the_test_when_the_body_is_shorter() -> None:
    """As every fault that does not fit."""
    with pytest.raises(ExceptionGroup, match="failed") as failure:
        raw(CutAt(10_000_000, "fin"))
    assert failure.group_contains(ValueError, match="cuts at byte 10000000, but the body has only")


def test_faults_are_chosen_in_order_when_several_are_set() -> None:
    """Script, then decide, then always; None in a script is a healthy reply, None from decide is no opinion."""

    def by_model(request: Recorded) -> Fault | None:
        return Status(504) if request.json["model"] == "slow" else None

    def status_of(model: str) -> int:
        return httpx.post(
            f"{fake.url}/chat/completions", json={**CHAT, "model": model}, trust_env=False, verify=NO_TLS
        ).status_code

    with FakeProvider() as fake:
        fake.script = [Status(501), None]
        fake.decide = by_model
        fake.always = Status(503)
        assert fake.script == [Status(501), None]
        assert [status_of(model) for model in ("slow", "slow", "slow", "m")] == [501, 200, 504, 503]
        assert [request.fault for request in fake.requests] == [Status(501), None, Status(504), Status(503)]
        fake.clear()
        assert fake.requests == []
        fake.script = [Status(501)]
        fake.clear_faults()
        assert status_of("slow") == 200


def test_faults_apply_to_refusals_too() -> None:
    """Cutting and encoding do not care what the reply says."""
    reply = fetched(Encoded("gzip") | Chunking([5]), {"model": "m"})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "messages"
