"""The failover table, row by row, on the real Envoy: who was asked, with what, and what the client got."""

from __future__ import annotations

import time
from typing import Any, Literal

import httpx
import orjson
import pytest

from tests.envoy.conftest import KEYS, Stage
from tests.fakes import (
    CloseBeforeHeaders,
    ContentFilter,
    ContextLengthExceeded,
    CutAfter,
    CutAt,
    ErrorAfter,
    ErrorFirstEvent,
    ErrorInBody,
    Fault,
    GarbleAfter,
    HeadersThenSilence,
    KeepAliveComments,
    NotHttp,
    RateLimited,
    ResetBeforeHeaders,
    Silence,
    StallAfter,
    Status,
)

BOTH_MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def text_of(reply: httpx.Response) -> str:
    """The answer's text, streamed or not."""
    if not reply.headers["content-type"].startswith("text/event-stream"):
        return str(reply.json()["choices"][0]["message"]["content"])
    assert reply.content.endswith(b"data: [DONE]\n\n")
    events = [orjson.loads(line[6:]) for line in reply.content.splitlines() if line.startswith(b"data: {")]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


@BOTH_MODES
@pytest.mark.parametrize(
    ("fault", "asked", "reason"),
    [
        pytest.param(ResetBeforeHeaders(), ["a", "a", "b"], "reset", id="reset"),
        pytest.param(CloseBeforeHeaders(), ["a", "a", "b"], "reset", id="close"),
        pytest.param(Status(500), ["a", "a", "b"], "server_error", id="500"),
        pytest.param(Status(502, "<html>bad gateway</html>"), ["a", "a", "b"], "server_error", id="502-html"),
        pytest.param(Status(503, b""), ["a", "a", "b"], "overloaded", id="503-empty"),
        pytest.param(Status(504), ["a", "a", "b"], "timeout", id="504"),
        pytest.param(Status(529), ["a", "a", "b"], "overloaded", id="529"),
        pytest.param(RateLimited(), ["a", "a", "b"], "rate_limited", id="429"),
        pytest.param(RateLimited(retry_after=600), ["a", "a", "b"], "rate_limited", id="429-in-ten-minutes"),
        pytest.param(Silence(), ["a", "b"], "timeout", id="silence"),
        pytest.param(HeadersThenSilence(), ["a", "b"], "timeout", id="only-headers"),
        pytest.param(Status(401), ["a", "b"], "unauthorized", id="401"),
        pytest.param(Status(403), ["a", "b"], "unauthorized", id="403"),
        pytest.param(Status(404), ["a", "b"], "not_found", id="404"),
        pytest.param(ContextLengthExceeded(), ["a", "b"], "context_length", id="context-length"),
    ],
)
def test_next_backend_answers_when_one_fails(
    stage: Stage, fault: Fault, asked: list[str], reason: str, *, stream: bool
) -> None:
    """Each provider gets the client's own request in its own words; the client sees an answer and what it took."""
    stage.a.always = fault
    reply = stage.chat("pair", stream=stream)
    assert reply.status_code == 200
    assert text_of(reply) == "b says: hello"
    assert stage.asked() == asked
    assert reply.headers["x-kortex-backend"] == "b"
    assert reply.headers["x-kortex-model"] == "b-model"
    assert reply.headers["x-kortex-attempts"] == "2"
    assert reply.headers["x-kortex-trail"].startswith(f"a={reason};")
    assert [request.json["model"] for request in stage.a.requests] == ["a-model"] * (len(asked) - 1)
    assert {request.headers["authorization"] for request in stage.a.requests} == {f"Bearer {KEYS['KEY_A']}"}
    assert stage.b.requests[0].json["model"] == "b-model"
    assert stage.b.requests[0].headers["authorization"] == f"Bearer {KEYS['KEY_B']}"
    assert stage.b.requests[0].json["messages"] == [{"role": "user", "content": "hello"}]


@BOTH_MODES
def test_next_backend_answers_when_one_refuses_connections(stage: Stage, *, stream: bool) -> None:
    """Nobody listens: the same backend again, then the next."""
    with stage.a.refusing():
        reply = stage.chat("pair", stream=stream)
    assert text_of(reply) == "b says: hello"
    assert stage.asked() == ["b"]
    assert reply.headers["x-kortex-trail"].startswith("a=connect_failure;")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(ErrorInBody(), "overloaded", id="json-error-in-200"),
        pytest.param(CutAt(40, "reset"), "reset", id="json-cut-by-reset"),
        pytest.param(CutAt(40, "fin"), "reset", id="json-cut-by-fin"),
        pytest.param(Status(200, "<html>hello</html>"), "garbled", id="html-in-200"),
        pytest.param(Status(200, b""), "garbled", id="nothing-in-200"),
        pytest.param(NotHttp(), "reset", id="not-http"),
    ],
)
def test_next_backend_answers_when_a_200_is_no_answer(stage: Stage, fault: Fault, reason: str) -> None:
    """The body is held until it is known to be an answer."""
    stage.a.always = fault
    reply = stage.chat("pair")
    assert text_of(reply) == "b says: hello"
    assert stage.asked().count("b") == 1
    assert reply.headers["x-kortex-trail"].startswith(f"a={reason};")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(ErrorFirstEvent(), "overloaded", id="error-first"),
        pytest.param(KeepAliveComments(before="first", count=2) | ErrorFirstEvent(), "overloaded", id="after-comments"),
        pytest.param(GarbleAfter(0), "garbled", id="garbage-first"),
        pytest.param(Status(200, "<html>hello</html>"), "garbled", id="html-page"),
        pytest.param(CutAfter(0, "clean"), "truncated", id="nothing-at-all"),
        pytest.param(CutAfter(0, "reset"), "reset", id="reset-after-headers"),
    ],
)
def test_next_backend_answers_when_a_stream_begins_badly(stage: Stage, fault: Fault, reason: str) -> None:
    """Headers are held until the first event."""
    stage.a.always = fault
    reply = stage.chat("pair", stream=True)
    assert text_of(reply) == "b says: hello"
    assert reply.headers["x-kortex-trail"].startswith(f"a={reason};")


@BOTH_MODES
def test_same_backend_answers_when_its_retry_after_is_short(stage: Stage, *, stream: bool) -> None:
    """A 429 that says "in one second" is waited for, once; the next backend is not needed."""
    stage.a.script = [RateLimited(retry_after=1)]
    started = time.monotonic()
    reply = stage.chat("patient", stream=stream)
    assert time.monotonic() - started >= 0.9
    assert text_of(reply) == "a says: hello"
    assert stage.asked() == ["a", "a"]
    assert reply.headers["x-kortex-attempts"] == "1"


@pytest.mark.parametrize(("model", "times"), [("once", 1), ("pair", 2), ("thrice", 4)])
def test_same_backend_is_asked_again_as_often_as_the_route_says(stage: Stage, model: str, times: int) -> None:
    """``retries.perBackend`` is how many times more."""
    stage.a.always = Status(500)
    assert text_of(stage.chat(model)) == "b says: hello"
    assert len(stage.a.requests) == times


@BOTH_MODES
@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        pytest.param(ContentFilter(), 400, "content_filter", id="content-filter"),
        pytest.param(Status(400), 400, None, id="400"),
        pytest.param(Status(422, {"detail": "no such tool"}), 422, None, id="422"),
        pytest.param(Status(409), 409, None, id="409"),
    ],
)
def test_client_gets_the_refusal_when_another_backend_would_refuse_too(
    stage: Stage, fault: Fault, status: int, code: str | None, *, stream: bool
) -> None:
    """A plain JSON error with its status, streamed or not; nobody else is asked."""
    stage.a.always = fault
    reply = stage.chat("pair", stream=stream)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["error"]["code"] == code
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert stage.asked() == ["a"]


def test_smaller_backend_is_passed_by_when_the_prompt_was_too_long(stage: Stage) -> None:
    """c is known to hold less than a, which was too small; b's size is not known."""
    stage.a.always = ContextLengthExceeded()
    reply = stage.chat("three")
    assert text_of(reply) == "b says: hello"
    assert stage.asked() == ["a", "b"]
    assert [entry.partition(";")[0] for entry in reply.headers["x-kortex-trail"].split(", ")] == [
        "a=context_length",
        "c=context_length",
    ]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        pytest.param(StallAfter(2), "stream_idle_timeout", id="stall"),
        pytest.param(GarbleAfter(2), "bad_upstream_reply", id="garble"),
        pytest.param(CutAfter(2, "clean"), "stream_truncated", id="ended-without-done"),
        pytest.param(ErrorAfter(2), "overloaded", id="error"),
    ],
)
def test_stream_ends_with_an_error_event_when_it_breaks_midway(stage: Stage, fault: Fault, code: str) -> None:
    """What was said stays; then the error, no [DONE], nobody else asked, and the provider's connection is closed."""
    stage.a.always = fault
    reply = stage.chat("pair", stream=True)
    assert reply.status_code == 200
    lines = [line for line in reply.content.split(b"\n\n") if line]
    assert b'"role":"assistant"' in lines[0].replace(b" ", b"")
    error = orjson.loads(lines[-1].removeprefix(b"data: "))["error"]
    assert error["code"] == code
    assert error["message"]
    assert b"[DONE]" not in reply.content
    assert stage.asked() == ["a"]
    stage.a.wait_for(lambda fake: fake.active == 0)


@pytest.mark.parametrize("how", ["reset", "fin"])
def test_stream_is_cut_when_the_providers_connection_is(stage: Stage, how: str) -> None:
    """Envoy leaves no room for an error event here: the client's body ends without its last chunk, never cleanly."""
    stage.a.always = CutAfter(2, "reset" if how == "reset" else "fin", pause=0.3)
    with pytest.raises(httpx.RemoteProtocolError):
        stage.chat("pair", stream=True)
    assert stage.asked() == ["a"]


@BOTH_MODES
def test_client_gets_the_last_error_when_every_backend_failed(stage: Stage, *, stream: bool) -> None:
    """In its status, with a summary of the attempts and without a secret."""
    stage.a.always = Status(500)
    stage.b.always = RateLimited(retry_after=600)
    reply = stage.chat("pair", stream=stream)
    assert reply.status_code == 429
    assert reply.headers["retry-after"] == "600"
    assert reply.headers["x-kortex-backend"] == "b"
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "tried a: server_error, b: rate_limited" in error["message"]
    attempts = error["attempts"]
    assert [(past["backend"], past["outcome"], past["status"]) for past in attempts] == [
        ("a", "server_error", 500),
        ("b", "rate_limited", 429),
    ]
    assert all(past["milliseconds"] >= 0 for past in attempts)
    assert not any(key in reply.text for key in KEYS.values())


@pytest.mark.parametrize("how", ["reset", "fin"])
@pytest.mark.parametrize(("model", "asked"), [("alone", ["a"]), ("pair", ["a", "b"])])
def test_last_backend_is_blamed_when_it_cuts_its_answer_off(
    stage: Stage, model: str, asked: list[str], how: Literal["reset", "fin"]
) -> None:
    """Envoy makes this reply without asking anybody; it reads as the ones that are made with care."""
    stage.a.always = stage.b.always = CutAt(40, how, pause=0.05)
    before = stage.gateway.metrics()
    reply = stage.chat(model)
    assert reply.status_code == 502
    error = reply.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("server_error", "connection_reset", None)
    assert error["message"].startswith(f"The backend '{asked[-1]}' closed the connection before it answered.")
    assert ("tried a: reset, b: reset" in error["message"]) is (model == "pair")
    assert [(past["backend"], past["outcome"], past["status"]) for past in error["attempts"]] == [
        (backend, "reset", None) for backend in asked
    ]
    assert all(past["milliseconds"] >= 0 for past in error["attempts"])
    assert reply.headers["x-kortex-backend"] == asked[-1]
    assert reply.headers["x-kortex-attempts"] == str(len(asked))
    assert reply.headers.get("x-kortex-trail", "").startswith("a=reset;" if model == "pair" else "")
    assert not [name for name in reply.headers if name.startswith("x-envoy-")]
    lines = stage.gateway.until(lambda: full(stage.gateway.logged(reply), len(asked)), "the attempts are logged")
    assert [(line["backend"], line["outcome"], line["final"]) for line in lines] == [
        (backend, "reset", backend == asked[-1]) for backend in asked
    ]
    assert lines[-1]["status"] == 502
    after = stage.gateway.metrics()
    for name in (
        f'kortex_attempts_total{{backend="{asked[-1]}",outcome="reset"}}',
        f'kortex_requests_total{{operation="chat",route="{model}",status="502",stream="false"}}',
    ):
        assert after[name] - before.get(name, 0) == 1


def full(lines: list[Any], count: int) -> list[Any] | None:
    """The lines, once all of them are there."""
    return lines if len(lines) == count else None


def test_client_is_told_who_cut_a_stream_that_had_not_begun(stage: Stage) -> None:
    """The last backend's headers were there, its first event was not."""
    stage.a.always = CutAfter(0, "reset")
    reply = stage.chat("alone", stream=True)
    assert reply.status_code == 502
    assert reply.json()["error"]["code"] == "connection_reset"
    assert [past["outcome"] for past in reply.json()["error"]["attempts"]] == ["reset"]


def test_client_gets_a_504_when_every_backend_stays_silent(stage: Stage) -> None:
    """Envoy's own reply, in OpenAI's shape."""
    stage.a.always = stage.b.always = Silence()
    reply = stage.chat("pair")
    assert reply.status_code == 504
    assert reply.json()["error"]["code"] == "timeout"
    assert reply.json()["error"]["type"] == "server_error"
    assert reply.headers["x-kortex-attempts"] == "2"
    assert reply.headers["x-request-id"]


def test_total_timeout_ends_a_request_before_its_answer(stage: Stage) -> None:
    """``timeouts.total`` is for all attempts together."""
    stage.a.always = Silence()
    started = time.monotonic()
    reply = stage.chat("hurried")
    assert reply.status_code == 504
    assert time.monotonic() - started < 5
    assert stage.asked() == ["a"]


def test_total_timeout_ends_a_stream_with_an_error_event(stage: Stage) -> None:
    """In words, not by a cut."""
    stage.a.always = StallAfter(2)
    reply = stage.chat("hurried", stream=True)
    last = [line for line in reply.content.split(b"\n\n") if line][-1]
    assert orjson.loads(last.removeprefix(b"data: "))["error"]["code"] == "timeout"


@pytest.mark.parametrize("size", [1 << 20, 5 << 20, 20 << 20], ids=["1MB", "5MB", "20MB"])
@BOTH_MODES
def test_large_body_arrives_whole_at_every_attempt(stage: Stage, size: int, *, stream: bool) -> None:
    """Twice at a, once at b, the same bytes but for the model's name."""
    stage.a.always = Status(503)
    text = "0123456789abcdef" * (size // 16)
    reply = stage.chat("large", text, stream=stream, seed=7)
    assert reply.status_code == 200
    assert stage.asked() == ["a", "a", "b"]
    for request in (*stage.a.requests, *stage.b.requests):
        assert request.json["messages"] == [{"role": "user", "content": text}]
        assert request.json["seed"] == 7
