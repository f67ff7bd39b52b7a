"""Arrival, once per request: is it well formed, what does it ask, which backends shall answer, in which order?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import unquote

from extproc.admission.keyring import ANYONE, Key
from extproc.admission.scope import Subject
from extproc.admission.settlement import Reservation
from extproc.errors import (
    BodyTooLarge,
    HeadersTooLarge,
    InvalidRequest,
    MethodNotAllowed,
    ModelNotAllowed,
    ModelNotFound,
    PathNotFound,
    UnsupportedFeature,
)
from extproc.exchange.assignment import Assignment
from extproc.exchange.charging import Brownout, Charge, charge_for
from extproc.exchange.pricing import priced
from extproc.exchange.snapshot import Plan, Snapshot, Target
from extproc.headers import (
    ASSIGNMENT,
    ENVOY_MAX_RETRIES,
    ENVOY_PER_TRY_TIMEOUT_MS,
    ENVOY_TIMEOUT_MS,
    INTERNAL_PREFIXES,
    LARGEST_HEADERS,
    MOST_HEADERS,
    Headers,
)
from extproc.metering.estimate import rough_input
from extproc.openai.call import OPERATION_PATHS, Call, Operation, read_call
from extproc.openai.features import Support, support_for, used_features
from extproc.openai.models import model_body, model_list_body
from extproc.routing.health import NOTHING_SEEN, BackendStates

_MODELS: Final = "/v1/models"
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
    plan: Plan
    call: Call
    assignment: Assignment
    charge: Charge | None
    """What has to be reserved first; None where nothing counts the call."""


def arrive(headers: Headers, *, has_body: bool, snapshot: Snapshot, now: float) -> Answer | Key:
    """Judge a request by its headers, at ``now`` (Unix seconds). A Key: its body is needed, too. Raises ClientError."""
    _check_headers(headers)
    key = snapshot.keys.identify(headers, now=now)
    method = headers.get(":method", "")
    path = headers.get(":path", "").partition("?")[0]
    if path in OPERATION_PATHS:
        if method != "POST":
            message = f"Not allowed to {method} on {path}: use POST."
            raise MethodNotAllowed(message, allow="POST")
        _check_framing(headers, has_body=has_body, limit=snapshot.config.gateway.body_limit)
        return key
    if path == _MODELS or path.startswith(f"{_MODELS}/"):
        if method != "GET":
            message = f"Not allowed to {method} on {path}: use GET."
            raise MethodNotAllowed(message, allow="GET")
        return _models(path, snapshot, key)
    raise PathNotFound(_unknown_path(method, path))


def plan_call(
    headers: Headers,
    body: bytes,
    *,
    snapshot: Snapshot,
    now: Callable[[], float],
    states: BackendStates = NOTHING_SEEN,
    key: Key = ANYONE,
    brownout: Brownout | None = None,
) -> Planned:
    """Decide by the body. ``now`` gives Unix seconds; a ``brownout`` makes the call cheaper. Raises ClientError."""
    call, fields = _read(headers, body, limit=snapshot.config.gateway.body_limit)
    plan, model = _chosen(call.model, snapshot, key, brownout)
    arrived = now()
    targets = priced(_offering(plan, call, fields, model), plan, model, at=arrived)
    # Who is down is asked last, never not at all: it may be up again, and there may be nobody else.
    targets = tuple(sorted(targets, key=lambda target: not states.state(target.backend).available))
    arrived_ms = int(arrived * 1_000)
    assignment = Assignment(
        operation=call.operation,
        asked=call.model,
        model=plan.upstream_name(model),
        stream=call.stream,
        include_usage=call.include_usage,
        route=plan.route,
        plan=tuple(target.backend for target in targets),
        retries=plan.retries,
        try_ms=plan.first_token_ms if call.stream else plan.unstreamed_ms,
        idle_ms=plan.idle_ms,
        arrived_ms=arrived_ms,
        deadline_ms=None if plan.total_ms is None else arrived_ms + plan.total_ms,
        strict=plan.strict,
        carries=call.carries,
        input_tokens=rough_input(fields, call.operation, targets[0].model(plan.upstream_name(model))),
        base64=call.base64,
        caller=key.caller,
        max_output=None if brownout is None else brownout.tier.max_tokens,
        less_reasoning=brownout is not None and brownout.tier.no_reasoning,
    )
    charge = charge_for(
        (*snapshot.policies, *key.policies),
        Subject(caller=key.caller, route=plan.route, model=call.model, headers=headers),
        call,
        fields,
        targets=[(target, target.model(assignment.model)) for target in targets],
        now=arrived,
    )
    return Planned(
        targets=tuple(target.name for target in targets),
        backends=assignment.plan,
        set_headers=_request_headers(assignment, plan),
        remove_headers=tuple(
            name for name in headers if name.startswith(INTERNAL_PREFIXES) and name not in _SET_BY_ARRIVAL
        ),
        plan=plan,
        call=call,
        assignment=assignment,
        charge=charge,
    )


def holding(planned: Planned, reservation: Reservation) -> Planned:
    """The same, with what was reserved for it: attempts settle that, and their replies have its headers."""
    assignment = replace(planned.assignment, reservation=reservation)
    return replace(planned, assignment=assignment, set_headers=_request_headers(assignment, planned.plan))


def _read(headers: Headers, body: bytes, *, limit: int) -> tuple[Call, dict[str, Any]]:
    if len(body) > limit:
        # Envoy's own limit is exact, but for small limits on HTTP/2, where a body may come without its length.
        raise _too_large(len(body), limit)
    return read_call(OPERATION_PATHS[headers.get(":path", "").partition("?")[0]], body)


def _chosen(asked: str, snapshot: Snapshot, key: Key, brownout: Brownout | None) -> tuple[Plan, str]:
    """The plan, and the name by which it knows the model. Raises as ``_permitted``."""
    plan = _permitted(asked, snapshot, key)
    alias = None if brownout is None else brownout.tier.alias
    cheaper = None if alias is None else snapshot.plan(alias)
    return (plan, asked) if alias is None or cheaper is None else (cheaper, alias)


def _permitted(model: str, snapshot: Snapshot, key: Key) -> Plan:
    """The plan for the model. Raises ModelNotFound, or ModelNotAllowed, which does not tell whether there is one."""
    plan = snapshot.plan(model)
    if not key.allows_model(model) or (plan is not None and not key.allows_route(plan.route)):
        message = f"This API key may not use the model '{model}'. GET /v1/models lists those that it may use."
        raise ModelNotAllowed(message, param="model")
    if plan is None:
        raise _model_not_found(model)
    return plan


def _offering(plan: Plan, call: Call, fields: Mapping[str, Any], model: str) -> tuple[Target, ...]:
    """The targets that can serve the call, by the plan's name for its model. Raises UnsupportedFeature."""
    targets = plan.offering(call.operation, model)
    if not targets:
        backends = ", ".join(target.backend for target in plan.targets)
        message = f"No backend of the model '{call.model}' offers {call.operation.value} (tried: {backends})."
        raise UnsupportedFeature(message, param="model")
    return _able(targets, fields, plan, model) if call.operation is Operation.CHAT else targets


def _able(targets: tuple[Target, ...], fields: Mapping[str, Any], plan: Plan, asked: str) -> tuple[Target, ...]:
    """The targets that lose nothing of the request's meaning, nor, on a strict route, any of its parameters.

    Raises UnsupportedFeature when there is none, naming what each of them lacks.
    """
    model = plan.upstream_name(asked)
    tables = [
        translator.support_of(target.model(model))
        for target in targets
        if (translator := target.translator(Operation.CHAT, model)) is not None
    ]
    if not any(tables):
        return targets
    used = sorted(used_features(fields))
    refused = {Support.REFUSED, Support.DROPPED} if plan.strict else {Support.REFUSED}
    lacking = [[feature for feature in used if support_for(feature, table) in refused] for table in tables]
    able = tuple(target for target, lacks in zip(targets, lacking, strict=True) if not lacks)
    if not able:
        reasons = "; ".join(
            f"{target.backend} lacks {', '.join(lacks)}" for target, lacks in zip(targets, lacking, strict=True)
        )
        message = f"No backend of the model '{asked}' can serve all of this request: {reasons}."
        raise UnsupportedFeature(message, param=lacking[0][0])
    return able


_SET_BY_ARRIVAL: Final = frozenset({ASSIGNMENT, ENVOY_MAX_RETRIES, ENVOY_PER_TRY_TIMEOUT_MS, ENVOY_TIMEOUT_MS})


def _request_headers(assignment: Assignment, plan: Plan) -> tuple[tuple[str, bytes], ...]:
    """Envoy's per-request knobs, always all three: a client's own must be overwritten.

    A router timeout of 0 is no timeout. For a stream it would cut what has begun without a word, so it comes late.
    """
    grace = _STREAM_GRACE_MS if assignment.stream else 0
    total = 0 if plan.total_ms is None else plan.total_ms + grace
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


def _models(path: str, snapshot: Snapshot, key: Key) -> Answer:
    """What the key may not use is not there."""
    created = int(snapshot.loaded_at)
    if path == _MODELS:
        allowed = [
            (name, owner)
            for name, owner in snapshot.models
            if key.allows_model(name) and key.allows_route(snapshot.exact[name].route)
        ]
        return Answer(status=200, body=model_list_body(allowed, created=created))
    name = unquote(path.removeprefix(f"{_MODELS}/"))
    plan = snapshot.plan(name) if name.isprintable() and key.allows_model(name) else None
    if plan is None or not key.allows_route(plan.route):
        raise _model_not_found(name)
    return Answer(status=200, body=model_body(name, created=created, owner=plan.targets[0].provider.name))


def _model_not_found(name: str) -> ModelNotFound:
    message = f"The model '{name}' does not exist or you do not have access to it. GET /v1/models lists the models."
    return ModelNotFound(message, param="model")


def _unknown_path(method: str, path: str) -> str:
    message = f"Unknown request URL: {method} {path}."
    if f"/v1{path}" in OPERATION_PATHS or f"/v1{path}" == _MODELS:
        return f"{message} Did you mean /v1{path}? The base URL of a client ends in /v1."
    return f"{message} See https://platform.openai.com/docs/api-reference for the API's paths."
