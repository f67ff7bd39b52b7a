"""Arrival, once per request: is it well formed, what does it ask, which backends shall answer, in which order?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote

from extproc.admission.caller import Caller
from extproc.admission.keyring import ANYONE, Key
from extproc.admission.scope import Subject
from extproc.admission.settlement import Reservation
from extproc.config.gateway import Gateway
from extproc.errors import (
    BodyTooLarge,
    HeadersTooLarge,
    InvalidRequest,
    MethodNotAllowed,
    ModelNotAllowed,
    ModelNotFound,
    PathNotFound,
)
from extproc.exchange.assignment import Assignment
from extproc.exchange.attempt import FORWARDED
from extproc.exchange.charging import Brownout, Charge, charge_for
from extproc.exchange.listing import shown_models
from extproc.exchange.snapshot import Snapshot
from extproc.exchange.unserved import refuse_unserved
from extproc.headers import (
    ASSIGNMENT,
    ENVOY_MAX_RETRIES,
    ENVOY_PER_TRY_TIMEOUT_MS,
    ENVOY_TIMEOUT_MS,
    EXPLAIN,
    LARGEST_HEADERS,
    MOST_HEADERS,
    Headers,
)
from extproc.metering.estimate import rough_input
from extproc.openai.call import OPERATION_PATHS, Call, path_of, read_call
from extproc.openai.models import model_body, model_list_body
from extproc.routing.decision import Decision, decide
from extproc.routing.facts import Facts
from extproc.routing.health import NOTHING_SEEN, BackendStates
from extproc.routing.route import CompiledRoute
from extproc.routing.target import Target

_MODELS: Final = "/v1/models"
_SINGLE_MODEL: Final = f"{_MODELS}/"
_LISTS: Final = frozenset({_MODELS, _SINGLE_MODEL})
"""Where no model is named, the list is meant: clients join URLs with one slash more, and servers lead them on to it."""
EXPLAIN_TAG: Final = "explain"
"""What a key is tagged with whose holder may ask for explanations, where ``gateway.explain`` is ``tagged``."""
_JSON: Final = (("content-type", "application/json"),)
# Envoy's own limit comes after the attempt stage's, which can still tell the client what happened.
_STREAM_GRACE_MS: Final = 1_000
_LONGEST_USER: Final = 256


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
    remove_headers: tuple[str, ...]
    route: CompiledRoute
    call: Call
    facts: Facts
    decision: Decision
    assignment: Assignment
    charge: Charge | None
    """What has to be reserved first; None where nothing counts the call."""

    @property
    def set_headers(self) -> tuple[tuple[str, bytes], ...]:
        """Of a request for which nothing was reserved."""
        return self.holding(None)

    def holding(self, reservation: Reservation | None) -> tuple[tuple[str, bytes], ...]:
        """With what was reserved for it: attempts settle that, and their replies have its headers.

        Written when all is known, so once.
        """
        return _request_headers(self.assignment, self.route, reservation)


def arrive(headers: Headers, *, has_body: bool, snapshot: Snapshot, now: float) -> Answer | Key:
    """Judge a request by its headers, at ``now`` (Unix seconds). A Key: its body is needed, too. Raises ClientError."""
    _check_headers(headers)
    key = snapshot.keys.identify(headers, now=now)
    method = headers.get(":method", "")
    path = path_of(headers.get(":path", ""))
    if path in OPERATION_PATHS:
        if method != "POST":
            message = f"Not allowed to {method} on {path}: use POST."
            raise MethodNotAllowed(message, allow="POST")
        _check_framing(headers, has_body=has_body, limit=snapshot.config.gateway.body_limit)
        return key
    if path == _MODELS or path.startswith(_SINGLE_MODEL):
        if method != "GET":
            message = f"Not allowed to {method} on {path}: use GET."
            raise MethodNotAllowed(message, allow="GET")
        return _models(path, snapshot, key)
    raise PathNotFound(_unknown_path(method, path))


def plan_call(  # noqa: PLR0913 - what a decision depends on, by keyword
    headers: Headers,
    body: bytes,
    *,
    snapshot: Snapshot,
    now: Callable[[], float],
    exchange: str,
    decision_id: str,
    key: Key = ANYONE,
    brownout: Brownout | None = None,
    states: BackendStates = NOTHING_SEEN,
    decided: Callable[[Decision], None] = lambda _: None,
) -> Planned:
    """Decide by the body. ``now`` gives Unix seconds; ``exchange`` and ``decision_id`` are the request's own ids.

    A ``brownout`` makes the call cheaper. ``decided`` is told every decision, those not to serve the call too. Raises
    ClientError.
    """
    weighed = weigh_call(
        headers,
        body,
        snapshot=snapshot,
        now=now,
        decision_id=decision_id,
        key=key,
        brownout=brownout,
        states=states,
    )
    decided(weighed.decision)
    return plan_weighed(weighed, headers, snapshot, exchange=exchange)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A call that has been decided about, whether or not anybody is to serve it."""

    route: CompiledRoute
    facts: Facts
    decision: Decision
    key: Key
    brownout: Brownout | None


def weigh_call(  # noqa: PLR0913 - what a decision depends on, by keyword
    headers: Headers,
    body: bytes,
    *,
    snapshot: Snapshot,
    now: Callable[[], float],
    decision_id: str,
    states: BackendStates,
    key: Key = ANYONE,
    brownout: Brownout | None = None,
) -> Weighed:
    """The decision alone. Raises ClientError when there is nothing to decide about, or the key may not ask for it."""
    path = path_of(headers.get(":path", ""))
    limit = snapshot.config.gateway.body_limit
    if len(body) > limit:
        # Envoy's own limit is exact, but for small limits on HTTP/2, where a body may come without its length.
        raise _too_large(len(body), limit)
    call, fields = read_call(OPERATION_PATHS[path], body)
    route, model = _chosen(call.model, snapshot, key, brownout)
    upstream_model = route.upstream_name(model)
    facts = Facts(
        id=decision_id,
        call=call,
        fields=fields,
        headers=headers,
        caller=key.caller,
        arrived=now(),
        upstream_model=upstream_model,
        counted_as=route.default.choices[0].target.model(upstream_model),
    )
    decision = decide(facts, route, states)
    return Weighed(route=route, facts=facts, decision=decision, key=key, brownout=brownout)


def plan_weighed(weighed: Weighed, headers: Headers, snapshot: Snapshot, *, exchange: str = "") -> Planned:
    """What Envoy is told. Raises ClientError when nobody is to serve the call."""
    plan = weighed.decision.targets
    if not plan:
        raise refuse_unserved(weighed.decision, weighed.facts)
    route, facts, decision = weighed.route, weighed.facts, weighed.decision
    call = facts.call
    arrived_ms = int(facts.arrived * 1_000)
    targets = [(target, target.model(facts.upstream_model)) for target in plan]
    images = facts.images if any(target.counts_images for target in plan) else 0
    subject = Subject(caller=facts.caller, route=route.name, model=call.model, headers=headers)
    charge = charge_for(
        snapshot.tariffs.of(subject, weighed.key.policies),
        call,
        facts.fields,
        targets=targets,
        images=images,
        now=facts.arrived,
    )
    counted = None if charge is None else charge.counted
    assignment = Assignment(
        operation=call.operation,
        asked=call.model,
        model=facts.upstream_model,
        stream=call.stream,
        include_usage=call.include_usage,
        route=route.name,
        plan=tuple([target.backend for target in plan]),
        retries=route.retries,
        try_ms=route.first_token_ms if call.stream else route.unstreamed_ms,
        idle_ms=route.idle_ms,
        arrived_ms=arrived_ms,
        deadline_ms=None if route.total_ms is None else arrived_ms + route.total_ms,
        strict=route.strict,
        carries=call.carries,
        caller=facts.caller,
        end_user=None if facts.user is None else facts.user[:_LONGEST_USER],
        rule=decision.rule,
        experiments=decision.experiments,
        decision=decision.id,
        reason=decision.reason,
        explain=headers.get(EXPLAIN) == "1" and may_explain(facts.caller, snapshot.config.gateway),
        exchange=exchange,
        max_output=_longest(weighed.brownout, charge),
        less_reasoning=weighed.brownout is not None and weighed.brownout.tier.no_reasoning,
        input_tokens=rough_input(facts.fields, call.operation, targets[0][1]) if counted is None else counted,
        images=images,
        base64=call.base64,
    )
    return Planned(
        targets=tuple([target.name for target in plan]),
        backends=assignment.plan,
        remove_headers=_needless(headers, plan),
        route=route,
        call=call,
        facts=facts,
        decision=decision,
        assignment=assignment,
        charge=charge,
    )


def probing(planned: Planned) -> Planned:
    """The same, with the first attempt known as a probe when it ends."""
    return replace(planned, assignment=replace(planned.assignment, probe=True))


def _chosen(asked: str, snapshot: Snapshot, key: Key, brownout: Brownout | None) -> tuple[CompiledRoute, str]:
    """The route, and the name by which it knows the model. Raises as ``_permitted``."""
    route = _permitted(asked, snapshot, key)
    alias = None if brownout is None else brownout.tier.alias
    cheaper = None if alias is None else snapshot.route(alias)
    return (route, asked) if alias is None or cheaper is None else (cheaper, alias)


def _permitted(model: str, snapshot: Snapshot, key: Key) -> CompiledRoute:
    """The route for the model. Raises ModelNotFound, or ModelNotAllowed, which does not tell whether there is one."""
    route = snapshot.route(model)
    if not key.allows_model(model) or (route is not None and not key.allows_route(route.name)):
        message = f"This API key may not use the model '{model}'. GET /v1/models lists those that it may use."
        raise ModelNotAllowed(message, param="model")
    if route is None:
        raise _model_not_found(model)
    return route


def may_explain(caller: Caller, gateway: Gateway) -> bool:
    """Whether the caller may learn why a request went where it went."""
    if gateway.explain == "tagged":
        return EXPLAIN_TAG in caller.tags
    return gateway.explain == "all"


def _longest(brownout: Brownout | None, charge: Charge | None) -> int | None:
    limits = (None if brownout is None else brownout.tier.max_tokens, None if charge is None else charge.max_output)
    return min((limit for limit in limits if limit is not None), default=None)


_SET_BY_ARRIVAL: Final = frozenset({ASSIGNMENT, ENVOY_MAX_RETRIES, ENVOY_PER_TRY_TIMEOUT_MS, ENVOY_TIMEOUT_MS})
# Envoy finds no route for a request without its x-forwarded-proto.
_GOES_ON: Final = FORWARDED | _SET_BY_ARRIVAL | {"x-forwarded-proto"}


def _request_headers(
    assignment: Assignment, route: CompiledRoute, reservation: Reservation | None
) -> tuple[tuple[str, bytes], ...]:
    """Envoy's per-request knobs, always all three: a client's own must be overwritten.

    A router timeout of 0 is no timeout. For a stream it would cut what has begun without a word, so it comes late.
    """
    grace = _STREAM_GRACE_MS if assignment.stream else 0
    total = 0 if route.total_ms is None else route.total_ms + grace
    return (
        (ASSIGNMENT, assignment.to_header(reservation)),
        (ENVOY_MAX_RETRIES, b"%d" % (len(assignment.plan) - 1)),
        (ENVOY_PER_TRY_TIMEOUT_MS, b"%d" % assignment.try_ms),
        (ENVOY_TIMEOUT_MS, b"%d" % total),
    )


def _needless(headers: Headers, plan: tuple[Target, ...]) -> tuple[str, ...]:
    """What none of the plan's backends gets: the way through Envoy is shorter without, and each attempt's message."""
    asked = {name for target in plan for name in target.settings.forward_headers}
    return tuple([name for name in headers if name not in _GOES_ON and name not in asked and name[0] != ":"])


def _check_headers(headers: Headers) -> None:
    if headers.lines > MOST_HEADERS or headers.size > LARGEST_HEADERS:
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
    if path in _LISTS:
        shown = shown_models(snapshot.models, key, snapshot.route)
        return Answer(status=200, body=model_list_body(shown, created=created))
    name = unquote(path.removeprefix(_SINGLE_MODEL))
    route = snapshot.route(name) if name.isprintable() and key.allows_model(name) else None
    if route is None or not key.allows_route(route.name):
        raise _model_not_found(name)
    return Answer(status=200, body=model_body(name, created=created, owner=route.targets[0].provider.name))


def _model_not_found(name: str) -> ModelNotFound:
    message = f"The model '{name}' does not exist or you do not have access to it. GET /v1/models lists the models."
    return ModelNotFound(message, param="model")


def _unknown_path(method: str, path: str) -> str:
    message = f"Unknown request URL: {method} {path}."
    likely = path_of(f"/v1{path}")
    if likely in OPERATION_PATHS or likely == _MODELS:
        return f"{message} Did you mean {likely}? The base URL of a client ends in /v1."
    return f"{message} There are {', '.join(OPERATION_PATHS)} and {_MODELS}."
