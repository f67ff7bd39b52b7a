"""What arrival answers itself, and what it plans."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from extproc.admission.caller import Caller
from extproc.admission.keyring import ANYONE
from extproc.errors import KortexError
from extproc.exchange.arrival import Answer, arrive, plan_call
from extproc.exchange.assignment import read_assignment
from extproc.exchange.snapshot import Snapshot
from extproc.headers import (
    ASSIGNMENT,
    ENVOY_MAX_RETRIES,
    ENVOY_PER_TRY_TIMEOUT_MS,
    ENVOY_TIMEOUT_MS,
    Headers,
)

CHAT = "/v1/chat/completions"
NOW = 1_700_000_000.0
MESSAGES = '"messages":[{"role":"user","content":"hi"}]'


def request(method: str = "POST", path: str = CHAT, *more: tuple[str, str]) -> Headers:
    """A request's headers."""
    return Headers([(":method", method), (":path", path), *more])


@pytest.mark.parametrize(
    ("headers", "has_body", "status", "code", "words"),
    [
        pytest.param(request("GET"), False, 405, "method_not_supported", "use POST", id="get-on-chat"),
        pytest.param(request("OPTIONS"), False, 405, "method_not_supported", "use POST", id="options-on-chat"),
        pytest.param(request("POST", "/v1/models"), True, 405, "method_not_supported", "use GET", id="post-on-models"),
        pytest.param(request("POST", "/v1/nothing"), True, 404, "unknown_url", "POST /v1/nothing", id="unknown"),
        pytest.param(
            request("POST", "/chat/completions"), True, 404, "unknown_url", "/v1/chat", id="base-url-without-v1"
        ),
        pytest.param(request(), False, 400, None, "empty", id="no-body"),
        pytest.param(
            request("POST", CHAT, ("content-length", "1025")),
            True,
            413,
            "request_too_large",
            "1024",
            id="over-the-limit",
        ),
        pytest.param(
            request("POST", CHAT, ("content-encoding", "gzip")), True, 400, None, "gzip", id="compressed-body"
        ),
        pytest.param(request("GET", "/v1/models/absent"), False, 404, "model_not_found", "absent", id="unknown-model"),
    ],
)
def test_arrive_refuses_when_headers_show_it(
    snapshot: Snapshot, headers: Headers, *, has_body: bool, status: int, code: str | None, words: str
) -> None:
    """Each refusal has OpenAI's status and code and says what to do."""
    with pytest.raises(KortexError, match=words) as caught:
        arrive(headers, has_body=has_body, snapshot=snapshot, now=NOW)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.type == "invalid_request_error"


def test_arrive_wants_the_body_when_the_headers_are_in_order(snapshot: Snapshot) -> None:
    """A query string does not make the path another one."""
    headers = request("POST", f"{CHAT}?beta=1", ("content-length", "1024"))
    assert arrive(headers, has_body=True, snapshot=snapshot, now=NOW) is ANYONE


def test_models_are_listed_when_asked_for(snapshot: Snapshot) -> None:
    """Names, not globs (``test_listing``); and each by itself, a glob's too."""
    answer = arrive(request("GET", "/v1/models"), has_body=False, snapshot=snapshot, now=NOW)
    assert isinstance(answer, Answer)
    listed = orjson.loads(answer.body)
    assert [model["id"] for model in listed["data"] if "/" not in model["id"]] == ["gpt-4", "embed"]
    one = arrive(request("GET", "/v1/models/mistral%2Flarge"), has_body=False, snapshot=snapshot, now=NOW)
    assert isinstance(one, Answer)
    assert orjson.loads(one.body) == {
        "id": "mistral/large",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "mistral",
    }


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        pytest.param("", None, "the body is empty", id="empty"),
        pytest.param('{"model":"gpt-4",', None, "line 1 column", id="cut"),
        pytest.param('{"model":"a","model":"b"}', None, 'duplicate key "model"', id="duplicate-key"),
        pytest.param('{"a":' + "[" * 300 + "]" * 300 + "}", None, "deeper than 256", id="deep"),
        pytest.param("[]", None, "not an array", id="array"),
        pytest.param(f"{{{MESSAGES}}}", "model", "Missing required parameter: 'model'", id="no-model"),
        pytest.param(f'{{"model":4,{MESSAGES}}}', "model", "an integer", id="model-is-a-number"),
        pytest.param(f'{{"model":"a\\nb",{MESSAGES}}}', "model", "printed", id="model-with-a-line-end"),
        pytest.param('{"model":"gpt-4"}', "messages", "Missing", id="no-messages"),
        pytest.param('{"model":"gpt-4","messages":[]}', "messages", "empty array", id="no-message"),
        pytest.param('{"model":"gpt-4","messages":["hi"]}', "messages[0]", "a string", id="message-is-text"),
        pytest.param(f'{{"model":"gpt-4","stream":"yes",{MESSAGES}}}', "stream", "true or false", id="stream-is-text"),
        pytest.param(
            f'{{"model":"gpt-4","stream_options":{{}},{MESSAGES}}}', "stream_options", "only allowed", id="no-stream"
        ),
        pytest.param(
            f'{{"model":"gpt-4","stream":true,"stream_options":{{"include_usage":1}},{MESSAGES}}}',
            "stream_options.include_usage",
            "an integer",
            id="include-usage-is-a-number",
        ),
    ],
)
def test_plan_refuses_when_the_body_is_wrong(snapshot: Snapshot, body: str, param: str | None, words: str) -> None:
    """400, with what is wrong and where."""
    with pytest.raises(KortexError, match=words.replace("[", r"\[")) as caught:
        plan_call(request(), body.encode(), snapshot=snapshot, now=lambda: 1.0, decision_id="d", exchange="e")
    assert caught.value.status == 400
    assert caught.value.param == param


def test_plan_refuses_when_nobody_has_the_operation(snapshot: Snapshot) -> None:
    """Mistral has no text completions: that is said before any attempt."""
    body = b'{"model":"mistral/large","prompt":"hi"}'
    with pytest.raises(KortexError, match=r"text_completion \(tried: third\)") as caught:
        plan_call(
            request("POST", "/v1/completions"), body, snapshot=snapshot, now=lambda: 1.0, decision_id="d", exchange="e"
        )
    assert (caught.value.status, caught.value.code) == (400, "unsupported_feature")


def test_plan_names_each_backend_once_when_a_chain_repeats_one(snapshot: Snapshot) -> None:
    """Default backend first, then the fallback chain; Envoy's knobs follow from plan and route."""
    planned = plan_call(
        request("POST", CHAT, ("x-kortex-trail", "forged"), ("x-envoy-retry-on", "5xx")),
        f'{{"model":"gpt-4",{MESSAGES}}}'.encode(),
        snapshot=snapshot,
        now=lambda: 2.5,
        decision_id="d",
        exchange="5ca1ab1e",
    )
    assert [name.split("/")[1] for name in planned.targets] == ["first", "second"]
    headers = dict(planned.set_headers)
    assert headers[ENVOY_MAX_RETRIES] == b"1"
    assert headers[ENVOY_PER_TRY_TIMEOUT_MS] == b"600000"
    assert headers[ENVOY_TIMEOUT_MS] == b"30000"
    assert set(planned.remove_headers) == {"x-kortex-trail", "x-envoy-retry-on"}
    assignment = read_assignment(headers[ASSIGNMENT].decode())
    assert (assignment.plan, assignment.arrived_ms, assignment.deadline_ms) == (("first", "second"), 2_500, 32_500)
    assert assignment.exchange == "5ca1ab1e"


@pytest.mark.parametrize(("model", "goes"), [("gpt-4", {"x-team"}), ("gpt-5", set())])
def test_only_what_a_backend_of_the_plan_gets_goes_on_to_its_attempts(
    snapshot: Snapshot, model: str, goes: set[str]
) -> None:
    """What every attempt would take away is taken away once; what Envoy needs on the way stays."""
    own = [("authorization", "Bearer x"), ("cookie", "c"), ("x-stainless-lang", "python"), ("x-team", "t")]
    kept = [("traceparent", "p"), ("x-forwarded-proto", "http"), ("user-agent", "u"), ("content-type", "c")]
    planned = plan_call(
        request("POST", CHAT, *own, *kept),
        f'{{"model":"{model}",{MESSAGES}}}'.encode(),
        snapshot=snapshot,
        now=lambda: 1.0,
        decision_id="d",
        exchange="e",
    )
    assert set(planned.remove_headers) == {name for name, _ in own} - goes


def test_plan_names_the_end_user_and_bounds_what_a_client_calls_them(snapshot: Snapshot) -> None:
    """The key's own user, or else whom the body names: a header of the request must hold it."""

    def planned_for(user: str, caller: Caller) -> str | None:
        body = f'{{"model":"gpt-4","user":"{user}",{MESSAGES}}}'.encode()
        key = replace(ANYONE, caller=caller)
        planned = plan_call(request(), body, snapshot=snapshot, now=lambda: 1.0, decision_id="d", exchange="e", key=key)
        return read_assignment(dict(planned.set_headers)[ASSIGNMENT].decode()).end_user

    assert planned_for("ann", Caller()) == "ann"
    assert planned_for("u" * 500, Caller()) == "u" * 256
    assert planned_for("ann", Caller(user="bob")) == "bob"


def test_plan_takes_the_route_of_the_most_specific_pattern(snapshot: Snapshot) -> None:
    """An exact name before a glob; the route's own timeouts and retries before the gateway's."""
    streamed = f'{{"model":"gpt-5","stream":true,{MESSAGES}}}'.encode()
    planned = plan_call(request(), streamed, snapshot=snapshot, now=lambda: 0.0, decision_id="d", exchange="e")
    headers = dict(planned.set_headers)
    assert headers[ENVOY_PER_TRY_TIMEOUT_MS] == b"2000"
    assert headers[ENVOY_TIMEOUT_MS] == b"31000"  # the attempt stage ends a stream in words first
    assignment = read_assignment(headers[ASSIGNMENT].decode())
    assert (assignment.route, assignment.retries, assignment.stream) == ("wide", 3, True)


def test_plan_strips_the_prefix_when_the_route_says_so(snapshot: Snapshot) -> None:
    """The client's name stays known beside the provider's."""
    body = f'{{"model":"mistral/large",{MESSAGES}}}'.encode()
    planned = plan_call(request(), body, snapshot=snapshot, now=lambda: 0.0, decision_id="d", exchange="e")
    assignment = read_assignment(dict(planned.set_headers)[ASSIGNMENT].decode())
    assert (assignment.asked, assignment.model) == ("mistral/large", "large")


def test_plan_answers_404_when_no_route_has_the_model(snapshot: Snapshot) -> None:
    """OpenAI's code and param."""
    body = f'{{"model":"claude",{MESSAGES}}}'.encode()
    with pytest.raises(KortexError, match="'claude' does not exist") as caught:
        plan_call(request(), body, snapshot=snapshot, now=lambda: 0.0, decision_id="d", exchange="e")
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")


def test_assignment_is_refused_when_the_edge_did_not_write_it() -> None:
    """A provider listener that is reached by another way serves nothing."""
    odd = ('{"operation":"chat"}', "[[],[],null]", '[{"plan":[]},[],null]', '[{"plan":[]},null,null]', '"abc"')
    for header in (None, "", "{}", "x", *odd):
        with pytest.raises(KortexError, match="without passing the edge"):
            read_assignment(header)


def test_plan_refuses_a_body_over_the_limit_that_no_header_announced(snapshot: Snapshot) -> None:
    """The limit is exact, whatever the transport let through."""
    body = f'{{"model":"gpt-4",{MESSAGES},"user":"{"u" * 1024}"}}'.encode()
    with pytest.raises(KortexError, match="the limit is 1024") as caught:
        plan_call(request(), body, snapshot=snapshot, now=lambda: 0.0, decision_id="d", exchange="e")
    assert caught.value.status == 413
