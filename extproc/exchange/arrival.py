"""Arrival, once per request: is it well formed, what does it ask, which backends shall answer, in which order?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from extproc.admission.caller import ANONYMOUS, Caller
from extproc.config.gateway import Gateway
from extproc.errors import (
    BodyTooLarge,
    HeadersTooLarge,
    InvalidRequest,
    MethodNotAllowed,
    ModelNotFound,
    PathNotFound,
)
from extproc.exchange.assignment import Assignment
from extproc.exchange.snapshot import Snapshot
from extproc.exchange.unserved import refuse_unserved
from extproc.headers import (
    ASSIGNMENT,
    ENVOY_MAX_RETRIES,
    ENVOY_PER_TRY_TIMEOUT_MS,
    ENVOY_TIMEOUT_MS,
    EXPLAIN,
    INTERNAL_PREFIXES,
    LARGEST_HEADERS,
    MOST_HEADERS,
    Headers,
)
from extproc.metering.estimate import rough_input
from extproc.openai.call import OPERATION_PATHS, Call, read_call
from extproc.openai.models import model_body, model_list_body
from extproc.routing.decision import Decision, decide
from extproc.routing.facts import Facts
from extproc.routing.health import NOTHING_SEEN, BackendStates
from extproc.routing.route import CompiledRoute

_MODELS: Final = "/v1/models"
EXPLAIN_TAG: Final = "explain"
"""What a key is tagged with whose holder may ask for explanations, where ``gateway.explain`` is ``tagged``."""
_JSON: Final = (("content-type", "application/json"),)
# Envoy's own limit comes after the attempt stage's, which can still tell the client what happened.
_STREAM_GRACE_MS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply made by the gateway itself."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = _JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Where the request goes: ``targets`` are Envoy's cluster names in the order of the attempts."""

    targets: tuple[str, ...]
    backends: tuple[str, ...]
    set_headers: tuple[tuple[str, bytes], ...]
    remove_headers: tuple[str, ...]
    route: CompiledRoute
    call: Call
    facts: Facts
    decision: Decision


def arrive(headers: Headers, *, has_body: bool, snapshot: Snapshot) -> Answer | None:
    """Judge a request by its headers. None: its body is needed. Raises ClientError."""
    _check_headers(headers)
    method = headers.get(":method", "")
    path = headers.get(":path", "").partition("?")[0]
    if path in OPERATION_PATHS:
        if method != "POST":
            message = f"Not allowed to {method} on {path}: use POST."
            raise MethodNotAllowed(message, allow="POST")
        _check_framing(headers, has_body=has_body, limit=snapshot.config.gateway.body_limit)
        return None
    if path == _MODELS or path.startswith(f"{_MODELS}/"):
        if method != "GET":
            message = f"Not allowed to {method} on {path}: use GET."
            raise MethodNotAllowed(message, allow="GET")
        return _models(path, snapshot)
    raise PathNotFound(_unknown_path(method, path))


def plan_call(  # noqa: PLR0913 - what a decision depends on, by keyword
    headers: Headers,
    body: bytes,
    *,
    snapshot: Snapshot,
    now: Callable[[], float],
    exchange: str,
    decision_id: str,
    caller: Caller = ANONYMOUS,
    states: BackendStates = NOTHING_SEEN,
    decided: Callable[[Decision], None] = lambda _: None,
) -> Planned:
    """Decide by the body. ``now`` gives Unix seconds; ``exchange`` and ``decision_id`` are the request's own ids.

    ``decided`` is told every decision, those not to serve the call too. Raises ClientError.
    """
    weighed = weigh_call(
        headers, body, snapshot=snapshot, now=now, decision_id=decision_id, caller=caller, states=states
    )
    decided(weighed.decision)
    return plan_weighed(weighed, headers, snapshot, exchange=exchange)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A call that has been decided about, whether or not anybody is to serve it."""

    route: CompiledRoute
    facts: Facts
    decision: Decision


def weigh_call(
    headers: Headers,
    body: bytes,
    *,
    snapshot: Snapshot,
    now: Callable[[], float],
    decision_id: str,
    caller: Caller,
    states: BackendStates,
) -> Weighed:
    """The decision alone. Raises ClientError when there is nothing to decide about."""
    path = headers.get(":path", "").partition("?")[0]
    limit = snapshot.config.gateway.body_limit
    if len(body) > limit:
        # Envoy's own limit is exact, but for small limits on HTTP/2, where a body may come without its length.
        raise _too_large(len(body), limit)
    call, fields = read_call(OPERATION_PATHS[path], body)
    route = snapshot.route(call.model)
    if route is None:
        raise _model_not_found(call.model)
    upstream_model = route.upstream_name(call.model)
    facts = Facts(
        id=decision_id,
        call=call,
        fields=fields,
        headers=headers,
        caller=caller,
        arrived=now(),
        upstream_model=upstream_model,
        counted_as=route.default.choices[0].target.model(upstream_model),
    )
    return Weighed(route=route, facts=facts, decision=decide(facts, route, states))


def plan_weighed(weighed: Weighed, headers: Headers, snapshot: Snapshot, *, exchange: str = "") -> Planned:
    """What Envoy is told. Raises ClientError when nobody is to serve the call."""
    if not weighed.decision.targets:
        raise refuse_unserved(weighed.decision, weighed.facts)
    route, facts, decision = weighed.route, weighed.facts, weighed.decision
    call = facts.call
    arrived_ms = int(facts.arrived * 1_000)
    assignment = Assignment(
        operation=call.operation,
        asked=call.model,
        model=facts.upstream_model,
        stream=call.stream,
        include_usage=call.include_usage,
        route=route.name,
        plan=tuple(target.backend for target in decision.targets),
        retries=route.retries,
        try_ms=route.first_token_ms if call.stream else route.unstreamed_ms,
        idle_ms=route.idle_ms,
        arrived_ms=arrived_ms,
        deadline_ms=None if route.total_ms is None else arrived_ms + route.total_ms,
        strict=route.strict,
        carries=call.carries,
        caller=facts.caller,
        rule=decision.rule,
        experiments=decision.experiments,
        decision=decision.id,
        reason=decision.reason,
        explain=headers.get(EXPLAIN) == "1" and may_explain(facts.caller, snapshot.config.gateway),
        exchange=exchange,
        input_tokens=rough_input(facts.fields, call.operation, decision.targets[0].model(facts.upstream_model)),
        base64=call.base64,
    )
    return Planned(
        targets=tuple(target.name for target in decision.targets),
        backends=assignment.plan,
        set_headers=_request_headers(assignment, route),
        remove_headers=tuple(
            name for name in headers if name.startswith(INTERNAL_PREFIXES) and name not in _SET_BY_ARRIVAL
        ),
        route=route,
        call=call,
        facts=facts,
        decision=decision,
    )


def may_explain(caller: Caller, gateway: Gateway) -> bool:
    """Whether the caller may learn why a request went where it went."""
    if gateway.explain == "tagged":
        return EXPLAIN_TAG in caller.tags
    return gateway.explain == "all"


_SET_BY_ARRIVAL: Final = frozenset({ASSIGNMENT, ENVOY_MAX_RETRIES, ENVOY_PER_TRY_TIMEOUT_MS, ENVOY_TIMEOUT_MS})


def _request_headers(assignment: Assignment, route: CompiledRoute) -> tuple[tuple[str, bytes], ...]:
    """Envoy's per-request knobs, always all three: a client's own must be overwritten.

    A router timeout of 0 is no timeout. For a stream it would cut what has begun without a word, so it comes late.
    """
    grace = _STREAM_GRACE_MS if assignment.stream else 0
    total = 0 if route.total_ms is None else route.total_ms + grace
    return (
        (ASSIGNMENT, assignment.to_header()),
        (ENVOY_MAX_RETRIES, b"%d" % (len(assignment.plan) - 1)),
        (ENVOY_PER_TRY_TIMEOUT_MS, b"%d" % assignment.try_ms),
        (ENVOY_TIMEOUT_MS, b"%d" % total),
    )


def _check_headers(headers: Headers) -> None:
    size = sum(map(len, headers)) + sum(map(len, headers.values()))
    if headers.lines > MOST_HEADERS or size > LARGEST_HEADERS:
        message = f"The request headers are larger than {LARGEST_HEADERS >> 10} KiB, or more than {MOST_HEADERS}."
        raise HeadersTooLarge(message)


def _check_framing(headers: Headers, *, has_body: bool, limit: int) -> None:
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        message = f"Request bodies with content-encoding '{encoding}' are not supported: send plain JSON."
        raise InvalidRequest(message)
    if not has_body:
        message = "We could not parse the JSON body of your request: the body is empty."
        raise InvalidRequest(message)
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise _too_large(int(length), limit)


def _too_large(size: int, limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body has {size} bytes, but the limit is {limit} bytes.")


def _models(path: str, snapshot: Snapshot) -> Answer:
    created = int(snapshot.loaded_at)
    if path == _MODELS:
        return Answer(status=200, body=model_list_body(snapshot.models, created=created))
    name = unquote(path.removeprefix(f"{_MODELS}/"))
    route = snapshot.route(name) if name.isprintable() else None
    if route is None:
        raise _model_not_found(name)
    return Answer(status=200, body=model_body(name, created=created, owner=route.targets[0].provider.name))


def _model_not_found(name: str) -> ModelNotFound:
    message = f"The model '{name}' does not exist or you do not have access to it. GET /v1/models lists the models."
    return ModelNotFound(message, param="model")


def _unknown_path(method: str, path: str) -> str:
    message = f"Unknown request URL: {method} {path}."
    if f"/v1{path}" in OPERATION_PATHS or f"/v1{path}" == _MODELS:
        return f"{message} Did you mean /v1{path}? The base URL of a client ends in /v1."
    return f"{message} See https://platform.openai.com/docs/api-reference for the API's paths."
