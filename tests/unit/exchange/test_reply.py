"""A reply, decoded as it arrives: what is held, what is let go, and what each failure becomes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any

import orjson
import pytest

from extproc.exchange.attempt import Attempt
from extproc.exchange.reply import Reply
from extproc.exchange.steps import Body, Head, Step
from extproc.exchange.verdict import Reason
from extproc.headers import (
    ATTEMPTS,
    BACKEND,
    ENVOY_ATTEMPT_COUNT,
    FAILOVER,
    LOCAL_REPLY,
    MODEL,
    OUTCOME,
    TRAIL,
    UPSTREAM_REQUEST_ID,
    Headers,
)
from extproc.openai.usage import Usage
from tests.fakes import event_stream

StartAttempt = Callable[..., Attempt]
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}}
_RESET = "upstream_reset_before_response_started"
DONE = b"data: [DONE]\n\n"


def head(status: int = 200, kind: str = "application/json", *more: tuple[str, str]) -> Headers:
    """A provider's reply headers."""
    return Headers([(":status", str(status)), ("content-type", kind), *more])


def event(*, content: str = "hi", finish: str | None = None, **fields: object) -> bytes:
    """One chunk of a provider's stream."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    whole = {"id": "c1", "model": "first-large-2025", "choices": [choice], **fields}
    return b"data: " + orjson.dumps(whole) + b"\n\n"


def play(attempt: Attempt, headers: Headers, *pieces: bytes, end: bool = True) -> tuple[Reply, list[Step]]:
    """Feed a reply at t = 101 s."""
    reply = Reply(attempt)
    steps = reply.headers(headers, end=False, now=101.0)
    for index, piece in enumerate(pieces):
        steps += reply.body(piece, end=end and index == len(pieces) - 1, now=101.0)
    return reply, steps


def sent(steps: Iterable[Step]) -> bytes:
    """The body the client gets."""
    return b"".join(step.data for step in steps if isinstance(step, Body))


def fields(steps: list[Step]) -> dict[str, str]:
    """The headers that the first step sets."""
    assert isinstance(steps[0], Head)
    return dict(steps[0].set_headers)


def error_of(steps: list[Step]) -> dict[str, Any]:
    """The error object in the body."""
    error: dict[str, Any] = orjson.loads(sent(steps))["error"]
    return error


def test_whole_reply_has_the_clients_model_when_it_is_decoded(start: StartAttempt) -> None:
    """Only the model's name changes; usage and the provider's own name and request id are kept."""
    body = b'{"id":"x","model":"first-large-2025","choices":[ ], "n":1.0,"usage":' + orjson.dumps(USAGE) + b"}"
    headers = head(
        200, "application/json", ("x-request-id", "up-1"), ("set-cookie", "a=b"), ("openai-organization", "o")
    )
    reply, steps = play(start(), headers, body[:20], body[20:])
    assert sent(steps) == body.replace(b"first-large-2025", b"gpt-4")
    own = fields(steps)
    assert (own[BACKEND], own[MODEL], own[ATTEMPTS], own[UPSTREAM_REQUEST_ID]) == ("first", "first-large", "1", "up-1")
    assert own["content-length"] == str(len(sent(steps)))
    assert isinstance(steps[0], Head)
    assert {"set-cookie", "openai-organization", "x-request-id"} <= set(steps[0].remove_headers)
    assert reply.outcome is not None
    assert reply.outcome.usage == Usage(input=7, output=5, cached_input=3)
    assert (reply.outcome.final, reply.outcome.served_model, reply.outcome.reason) == (True, "first-large-2025", None)


def test_stream_is_held_until_its_first_event(start: StartAttempt) -> None:
    """Comments and pings are no answer yet; then everything held goes out, in order."""
    reply = Reply(start(stream=True))
    assert reply.headers(head(kind="text/event-stream"), end=False, now=101.0) == []
    assert reply.body(b": ping\n\n", end=False, now=101.0) == []
    assert reply.body(event()[:10], end=False, now=101.0) == []
    steps = reply.body(event()[10:], end=False, now=102.0)
    assert isinstance(steps[0], Head)
    assert sent(steps).startswith(b": ping\n\ndata: ")
    assert reply.streaming
    steps = reply.body(event(finish="stop") + DONE, end=True, now=103.0)
    assert sent(steps).endswith(DONE)
    assert steps[-1] == Body(data=sent(steps), end=True)
    assert reply.outcome is not None
    assert (reply.outcome.first_event_ms, reply.outcome.duration_ms) == (2_000.0, 3_000.0)


@pytest.mark.parametrize("include_usage", [False, True])
def test_usage_chunk_is_hidden_unless_asked_for(start: StartAttempt, *, include_usage: bool) -> None:
    """It is read either way."""
    usage_chunk = b"data: " + orjson.dumps({"model": "gpt-4", "choices": [], "usage": USAGE}) + b"\n\n"
    reply, steps = play(
        start(stream=True, include_usage=include_usage),
        head(kind="text/event-stream"),
        event(finish="stop", usage=None) + usage_chunk + DONE,
    )
    assert (b'"choices":[]' in sent(steps)) is include_usage
    assert (b'"usage":null' in sent(steps)) is include_usage
    assert reply.outcome is not None
    assert reply.outcome.usage == Usage(input=7, output=5, cached_input=3)


def test_stream_without_done_is_completed_when_every_choice_finished(start: StartAttempt) -> None:
    """Some servers leave [DONE] out; clients wait for it."""
    _, steps = play(start(stream=True), head(kind="text/event-stream"), event(), event(finish="stop"))
    assert sent(steps).endswith(DONE)


@pytest.mark.parametrize(
    ("status", "kind", "body", "reason", "fails_over", "client_status", "code"),
    [
        pytest.param(500, "application/json", b'{"error":{"message":"x"}}', "server_error", True, 500, None, id="500"),
        pytest.param(529, "text/plain", b"busy", "overloaded", True, 503, "overloaded", id="529"),
        pytest.param(503, "text/html", b"<html>", "overloaded", True, 503, "overloaded", id="html"),
        pytest.param(502, "text/html", b"", "server_error", True, 502, None, id="empty"),
        pytest.param(429, "application/json", b"{}", "rate_limited", True, 429, "rate_limit_exceeded", id="429"),
        pytest.param(401, "application/json", b"{}", "unauthorized", True, 401, "invalid_api_key", id="401"),
        pytest.param(403, "application/json", b"{}", "unauthorized", True, 403, None, id="403"),
        pytest.param(404, "application/json", b"{}", "not_found", True, 404, "not_found", id="404"),
        pytest.param(
            400,
            "application/json",
            b'{"object":"error","message":"This model\'s maximum context length is 8 tokens"}',
            "context_length",
            True,
            400,
            "context_length_exceeded",
            id="context-length-in-prose",
        ),
        pytest.param(
            400,
            "application/json",
            b'{"error":{"message":"no","code":"content_filter"}}',
            "content_filter",
            False,
            400,
            "content_filter",
            id="content-filter",
        ),
        pytest.param(422, "application/json", b'{"detail":"bad"}', "refused", False, 422, None, id="422"),
        pytest.param(200, "application/json", b"<html>", "garbled", True, 502, "bad_upstream_reply", id="no-json"),
        pytest.param(200, "application/json", b"[1]", "garbled", True, 502, "bad_upstream_reply", id="no-object"),
        pytest.param(
            200,
            "application/json",
            b'{"error":{"message":"x","type":"server_error"}}',
            "server_error",
            True,
            500,
            None,
            id="error-in-200",
        ),
        pytest.param(
            200,
            "application/json",
            b'{"error":{"message":"x","code":429}}',
            "rate_limited",
            True,
            429,
            "rate_limit_exceeded",
            id="429-in-200",
        ),
        pytest.param(
            200,
            "application/json",
            b'{"error":{"message":"x","type":"invalid_request_error"}}',
            "refused",
            False,
            400,
            None,
            id="400-in-200",
        ),
        pytest.param(301, "text/html", b"", "not_found", True, 502, "unexpected_redirect", id="redirect"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_failure_goes_to_the_next_backend_when_the_table_says_so(
    start: StartAttempt,
    *,
    stream: bool,
    status: int,
    kind: str,
    body: bytes,
    reason: str,
    fails_over: bool,
    client_status: int,
    code: str | None,
) -> None:
    """The mark for Envoy, the outcome for the attempts after, and an OpenAI error for the client."""
    reply, steps = play(start(stream=stream), head(status, kind), body)
    assert isinstance(steps[0], Head)
    assert steps[0].status == client_status
    assert fields(steps).get(FAILOVER) == (reason if fails_over else None)
    assert fields(steps)[OUTCOME].startswith(f"first={reason};{status};1000")
    error = error_of(steps)
    assert error["code"] == code
    assert error["message"]
    assert error["attempts"] == [{"backend": "first", "outcome": reason, "status": status, "milliseconds": 1000}]
    assert reply.outcome is not None
    assert reply.outcome.final is not fails_over
    assert reply.body(b"late", end=True, now=102.0) == []


def test_first_event_that_is_an_error_fails_over(start: StartAttempt) -> None:
    """Headers are still held, so a 200 becomes the error's status; comments before it are forgotten."""
    first = b': ping\n\ndata: {"error":{"message":"busy","type":"overloaded_error"}}\n\n'
    _, steps = play(start(stream=True), head(kind="text/event-stream"), first, end=False)
    assert isinstance(steps[0], Head)
    assert steps[0].status == 503
    assert fields(steps)[FAILOVER] == "overloaded"
    assert steps[-1] == Body(data=sent(steps), end=True)
    assert error_of(steps)["message"] == "busy"


def test_nothing_is_marked_when_no_backend_follows(start: StartAttempt) -> None:
    """The client gets the last error, its Retry-After, and what was tried before."""
    attempt = start(number=2, trail="first=rate_limited;429;35,")
    _, steps = play(attempt, head(429, "application/json", ("retry-after", "7")), b'{"error":{"message":"slow down"}}')
    own = fields(steps)
    assert FAILOVER not in own
    assert (own["retry-after"], own[TRAIL], own[ATTEMPTS]) == ("7", "first=rate_limited;429;35", "2")
    error = error_of(steps)
    assert error["message"] == "slow down (No backend answered; tried first: rate_limited, second: rate_limited.)"
    assert [(past["backend"], past["milliseconds"]) for past in error["attempts"]] == [("first", 35), ("second", 1000)]


@pytest.mark.parametrize(
    ("after", "end", "code"),
    [
        pytest.param(b"data: {oops\n\n", False, "bad_upstream_reply", id="garbled"),
        pytest.param(b"", True, "stream_truncated", id="ended-early"),
        pytest.param(
            b'data: {"error":{"message":"x","code":"rate_limit_exceeded"}}\n\n',
            False,
            "rate_limit_exceeded",
            id="error",
        ),
    ],
)
def test_stream_that_breaks_ends_with_an_error_event(
    start: StartAttempt, after: bytes, *, end: bool, code: str
) -> None:
    """What came before stays; then the error, and no [DONE]."""
    reply, steps = play(start(stream=True), head(kind="text/event-stream"), event(content="kept"), after, end=end)
    assert b'"kept"' in sent(steps)
    last = sent(steps).rstrip(b"\n").rpartition(b"data: ")[2]
    assert orjson.loads(last)["error"]["code"] == code
    assert DONE not in sent(steps)
    assert isinstance(steps[-1], Body)
    assert steps[-1].end
    assert reply.outcome is not None
    assert reply.outcome.reason is not None


def test_stalled_stream_ends_with_an_error_event_when_its_time_is_up(start: StartAttempt) -> None:
    """Idle in the middle; a whole answer that only lacks its end is no error."""
    reply, _ = play(start(stream=True), head(kind="text/event-stream"), event(), end=False)
    steps = reply.expire(Reason.IDLE, 105.0)
    assert b"stream_idle_timeout" in sent(steps)
    assert reply.expire(Reason.IDLE, 106.0) == []
    whole, _ = play(start(stream=True), head(kind="text/event-stream"), event(finish="stop") + DONE, end=False)
    assert whole.expire(Reason.IDLE, 105.0) == [Body(data=b"", end=True)]


def test_deadline_before_the_answer_is_a_504_without_failover(start: StartAttempt) -> None:
    """There is no time left for another backend."""
    reply = Reply(start())
    reply.headers(head(), end=False, now=101.0)
    steps = reply.expire(Reason.DEADLINE, 130.0)
    assert isinstance(steps[0], Head)
    assert steps[0].status == 504
    assert FAILOVER not in fields(steps)


@pytest.mark.parametrize(
    ("details", "reason", "code"),
    [
        (_RESET + "{remote_connection_failure|_111}", "connect_failure", "connect_failure"),
        (_RESET + "{connection_termination}", "reset", "connection_reset"),
        (_RESET + "{connection_timeout}", "connect_failure", "connect_failure"),
        (_RESET + "{remote_connection_failure|TLS_error:x}", "connect_failure", "tls_failure"),
        ("no_healthy_upstream", "connect_failure", "connect_failure"),
        (_RESET + "{overflow}", "overloaded", "overloaded"),
    ],
)  # fmt: skip
def test_envoys_own_reply_is_told_from_the_providers(start: StartAttempt, details: str, reason: str, code: str) -> None:
    """By the header of the listener's local_reply_config; Envoy's words do not reach the client."""
    _, steps = play(start(), head(503, "application/json", (LOCAL_REPLY, details)), b'{"error":{"message":"envoy"}}')
    assert fields(steps)[FAILOVER] == reason
    error = error_of(steps)
    assert error["code"] == code
    assert "envoy" not in error["message"]
    assert error["attempts"][0]["status"] is None


def test_our_credential_is_never_shown(start: StartAttempt) -> None:
    """Neither whole nor in the pieces that providers quote."""
    quoted = b'{"error":{"message":"Incorrect API key provided: sk-f***cret","code":"invalid_api_key"}}'
    _, steps = play(start(), head(401), quoted)
    assert b"sk-f" not in sent(steps)
    assert "gateway's credential" in error_of(steps)["message"]
    _, steps = play(start(), head(500), b'{"error":{"message":"key sk-first-secret broke"}}')
    assert error_of(steps)["message"] == "key *** broke"


def test_encoded_reply_is_decoded_when_the_provider_ignores_identity(start: StartAttempt) -> None:
    """Errors too; the header goes. Garbage in the encoding is a failure, not an empty answer."""
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(b'{"error":{"message":"packed"}}') + packer.flush()
    _, steps = play(start(), head(500, "application/json", ("content-encoding", "gzip")), packed)
    assert error_of(steps)["message"] == "packed"
    assert isinstance(steps[0], Head)
    assert "content-encoding" in steps[0].remove_headers
    _, steps = play(start(), head(200, "application/json", ("content-encoding", "gzip")), b"junk")
    assert fields(steps)[FAILOVER] == "garbled"
    _, steps = play(start(), head(200, "application/json", ("content-encoding", "rot13")), b"junk")
    assert fields(steps)[FAILOVER] == "garbled"


def test_streamed_call_answered_whole_is_garbled(start: StartAttempt) -> None:
    """A client that asked for a stream cannot read a JSON object."""
    _, steps = play(start(stream=True), head(), b'{"id":"x","choices":[]}')
    assert fields(steps)[FAILOVER] == "garbled"
    _, steps = play(start(stream=True), head(kind="text/event-stream"), DONE)
    assert fields(steps)[FAILOVER] == "garbled"


@pytest.mark.parametrize("kind", ["text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml", "text/xml"])
@pytest.mark.parametrize("stream", [False, True])
def test_page_in_place_of_an_answer_is_garbled(start: StartAttempt, kind: str, *, stream: bool) -> None:
    """A proxy's, streamed or not: told as what it is, and the next backend is asked, or the client is told."""
    page = b"<!doctype html>\n<title>It works!</title>\n\n<p>data: none</p>\n"
    reply, steps = play(start(stream=stream), head(kind=kind), page)
    assert fields(steps)[FAILOVER] == "garbled"
    assert reply.outcome is not None
    assert (reply.outcome.reason, reply.outcome.final) == (Reason.GARBLED, False)
    _, steps = play(start(stream=stream, number=2), head(kind=kind), page)
    assert error_of(steps)["code"] == "bad_upstream_reply"
    assert "a body that is not JSON" in error_of(steps)["message"]


@pytest.mark.parametrize(
    ("now", "number", "reason", "final"),
    [
        pytest.param(101.0, 1, Reason.CLIENT_GONE, True, id="client-left"),
        pytest.param(102.5, 1, Reason.TIMEOUT, False, id="no-first-token"),
        pytest.param(101.98, 1, Reason.TIMEOUT, False, id="no-first-token-by-the-clock-of-the-edge"),
        pytest.param(102.5, 2, Reason.TIMEOUT, True, id="no-first-token-from-the-last"),
    ],
)
def test_abandoned_attempt_says_why(
    start: StartAttempt, now: float, number: int, reason: Reason, *, final: bool
) -> None:
    """The edge resets an attempt either because its time is over or because nobody waits any more."""
    reply = Reply(start(number=number))
    reply.abandon(now)
    assert reply.outcome is not None
    assert (reply.outcome.reason, reply.outcome.final) == (reason, final)


@pytest.mark.parametrize(
    ("number", "status", "final"), [pytest.param(1, None, False, id="next"), pytest.param(2, 502, True, id="last")]
)
@pytest.mark.parametrize(
    ("pieces", "now"),
    [
        pytest.param([b'{"choices":[{"mess'], 101.5, id="within-it"),
        pytest.param([], 101.01, id="just-after-its-headers"),
    ],
)
def test_whole_answer_that_breaks_off_is_its_providers_fault(
    start: StartAttempt, pieces: list[bytes], now: float, number: int, status: int | None, *, final: bool
) -> None:
    """It is made when it begins to come, and comes at once: no client leaves just then."""
    reply, _ = play(start(number=number), head(), *pieces, end=False)
    reply.abandon(now)
    assert reply.outcome is not None
    assert (reply.outcome.reason, reply.outcome.status, reply.outcome.final) == (Reason.RESET, status, final)
    assert reply.outcome.abandoned


@pytest.mark.parametrize("stream", [False, True])
def test_nobody_is_blamed_when_a_reply_breaks_off_before_its_answer(start: StartAttempt, *, stream: bool) -> None:
    """Some providers send white space while they think, and who waits may leave."""
    kind = "text/event-stream" if stream else "application/json"
    reply, _ = play(start(stream=stream, number=2), head(kind=kind), b"\n\n", end=False)
    reply.abandon(101.5)
    assert reply.outcome is not None
    assert reply.outcome.reason is Reason.INTERRUPTED
    assert reply.outcome.abandoned


def test_bug_in_decoding_is_an_error_for_the_client(start: StartAttempt) -> None:
    """Never a hang."""
    reply = Reply(start(number=2))
    reply.headers(head(200, "application/json", (ENVOY_ATTEMPT_COUNT, "2")), end=False, now=101.0)
    steps = reply.crash(101.0)
    assert error_of(steps)["code"] == "internal_error"
    assert reply.outcome is not None
    assert reply.outcome.tries == 2
    assert reply.crash(101.0) == []


BINARY = "application/vnd.amazon.eventstream"
START = event_stream.event("messageStart", b'{"role":"assistant"}')
HELLO = event_stream.event("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"Hello"}}')
STOP = event_stream.event("messageStop", b'{"stopReason":"end_turn"}')
COUNTS = event_stream.event("metadata", b'{"usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5}}')


def test_binary_stream_is_text_for_the_client(start: StartAttempt) -> None:
    """The framing follows from what the provider says it sends, wherever its pieces are cut."""
    whole = START + HELLO + STOP + COUNTS
    reply, steps = play(
        start(stream=True, model="nova"),
        head(200, BINARY, ("x-amzn-requestid", "aws-1")),
        *(whole[index : index + 7] for index in range(0, len(whole), 7)),
    )
    assert fields(steps)["content-type"] == "text/event-stream"
    assert sent(steps).startswith(b'data: {"id":"chatcmpl-aws-1",')
    assert sent(steps).endswith(DONE)
    assert reply.outcome is not None
    assert (reply.outcome.usage, reply.outcome.reason) == (Usage(input=3, output=2), None)


def test_binary_stream_cut_in_a_message_is_truncated(start: StartAttempt) -> None:
    """Though the answer's end had been said."""
    reply, steps = play(start(stream=True, model="nova"), head(200, BINARY), START + HELLO + STOP, COUNTS[:20])
    assert b"[DONE]" not in sent(steps)
    assert b'"code":"stream_truncated"' in sent(steps)
    assert reply.outcome is not None
    assert reply.outcome.reason is Reason.TRUNCATED


def test_binary_stream_with_a_wrong_checksum_moves_on(start: StartAttempt) -> None:
    """Nothing was said yet."""
    wrong = HELLO[:-1] + bytes([HELLO[-1] ^ 1])
    reply, steps = play(start(stream=True, model="nova"), head(200, BINARY), START + wrong)
    assert fields(steps)[FAILOVER] == Reason.GARBLED.value
    assert error_of(steps)["code"] == "bad_upstream_reply"
    assert reply.outcome is not None
    assert reply.outcome.reason is Reason.GARBLED
