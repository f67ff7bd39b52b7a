"""What would become of a request, and why: the decision that arrival makes and the requests that attempts write.

Nobody is called and no secret is looked at. It runs the code that serves requests, never a copy of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from extproc.admission.caller import Caller
from extproc.admission.keyring import Key
from extproc.errors import KortexError
from extproc.exchange.arrival import Planned, Weighed, plan_weighed, weigh_call
from extproc.exchange.attempt import begin_attempt
from extproc.exchange.snapshot import Snapshot
from extproc.headers import ENVOY_ATTEMPT_COUNT, INTERNAL_PREFIXES, Headers, is_secret
from extproc.openai.call import OPERATION_PATHS, path_of
from extproc.routing.decision import Candidate
from extproc.routing.experiment import Assigned
from extproc.routing.expression import ExpressionFailed
from extproc.routing.facts import Facts
from extproc.routing.health import BackendStates
from extproc.routing.route import CompiledRule
from extproc.routing.target import Target

_HIDDEN: Final = "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldCondition:
    """``holds`` None: the expression gave no answer, and ``found`` says why."""

    wanted: str
    found: str
    holds: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRule:
    """``reached`` is False behind the rule that decided: it might match, but was not asked."""

    name: str
    matches: bool
    reached: bool
    conditions: tuple[ToldCondition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldCandidate:
    """``place`` counts from 1 in the plan; None where the backend is left out."""

    backend: str
    provider: str
    model: str
    place: int | None
    score: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldExperiment:
    """An experiment that the call was drawn into. ``hindrance`` is why it does not count for it; None where it does."""

    name: str
    variant: str
    backend: str
    hindrance: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldFacts:
    """What rules may ask about the call."""

    model: str
    operation: str
    stream: bool
    prompt_tokens: int
    counted_as: str
    max_tokens: int | None
    uses: tuple[str, ...]
    features: tuple[str, ...]
    user: str | None
    metadata: Mapping[str, str]
    conversation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRequest:
    """What the provider would be sent, byte for byte but for its credential."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldAttempt:
    """One backend of the plan. ``request`` None: the gateway answers itself, or ``refused`` says why it cannot ask."""

    backend: str
    request: ToldRequest | None
    estimated_cost: str | None
    dropped: tuple[str, ...] = ()
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldError:
    """What the client would be told in place of an answer."""

    status: int
    code: str | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """``rule`` None: the route's default backend. Ready to be written as JSON."""

    decision: str
    route: str
    rule: str | None
    strategy: str
    reason: str
    caller: Caller
    facts: ToldFacts
    rules: tuple[ToldRule, ...]
    candidates: tuple[ToldCandidate, ...]
    experiments: tuple[ToldExperiment, ...]
    plan: tuple[str, ...]
    attempts: tuple[ToldAttempt, ...]
    error: ToldError | None


def explain(
    headers: Headers,
    body: bytes,
    *,
    snapshot: Snapshot,
    now: float,
    decision_id: str,
    key: Key,
    states: BackendStates,
) -> Explanation:
    """The request as a client would send it. Raises ClientError where that is refused before any decision."""
    weighed = weigh_call(
        headers, body, snapshot=snapshot, now=lambda: now, decision_id=decision_id, key=key, states=states
    )
    route, facts, decision = weighed.route, weighed.facts, weighed.decision
    attempts: tuple[ToldAttempt, ...] = ()
    error = None
    try:
        planned = plan_weighed(weighed, headers, snapshot)
        attempts = tuple(
            _attempt(target, planned, headers, body, number) for number, target in enumerate(decision.targets, start=1)
        )
    except KortexError as refused:
        error = ToldError(status=refused.status, code=refused.code, message=refused.message)
    return Explanation(
        decision=decision.id,
        route=decision.route,
        rule=decision.rule,
        strategy=decision.strategy,
        reason=decision.reason,
        caller=facts.caller,
        facts=_facts(facts),
        rules=_rules(route.rules, facts, decision.rule),
        candidates=tuple(_candidate(candidate, weighed) for candidate in decision.candidates),
        experiments=tuple(_experiment(assigned) for assigned in decision.assigned),
        plan=tuple(target.backend for target in decision.targets),
        attempts=attempts,
        error=error,
    )


def request_headers(path: str, headers: Mapping[str, str]) -> Headers:
    """A client's POST, as Envoy would show it to arrival. Raises KeyError for a path that is none of the API's."""
    if path_of(path) not in OPERATION_PATHS:
        raise KeyError(path)
    own = {"content-type": "application/json", **{name.lower(): value for name, value in headers.items()}}
    return Headers([(":method", "POST"), (":path", path), *own.items()])


def _facts(facts: Facts) -> ToldFacts:
    return ToldFacts(
        model=facts.call.model,
        operation=facts.call.operation.value,
        stream=facts.call.stream,
        prompt_tokens=facts.prompt().tokens,
        counted_as=facts.counted_as,
        max_tokens=facts.max_tokens,
        uses=tuple(sorted(facts.uses)),
        features=facts.features,
        user=facts.user,
        metadata=facts.metadata,
        conversation=facts.conversation,
    )


def _rules(rules: tuple[CompiledRule, ...], facts: Facts, decided: str | None) -> tuple[ToldRule, ...]:
    told: list[ToldRule] = []
    reached = True
    for rule in rules:
        conditions = tuple(_condition(rule, index, facts) for index in range(len(rule.conditions)))
        matches = all(condition.holds for condition in conditions)
        told.append(ToldRule(name=rule.name, matches=matches, reached=reached, conditions=conditions))
        reached = reached and rule.name != decided
    return tuple(told)


def _condition(rule: CompiledRule, index: int, facts: Facts) -> ToldCondition:
    condition = rule.conditions[index]
    try:
        return ToldCondition(wanted=condition.wanted, found=condition.found(facts), holds=condition.holds(facts))
    except ExpressionFailed as failed:
        return ToldCondition(wanted=condition.wanted, found=str(failed), holds=None)


def _candidate(candidate: Candidate, weighed: Weighed) -> ToldCandidate:
    target = candidate.target
    return ToldCandidate(
        backend=target.backend,
        provider=target.provider.name,
        model=target.model(weighed.facts.upstream_model),
        place=candidate.place,
        score=candidate.score,
        reason=candidate.reason,
    )


def _experiment(assigned: Assigned) -> ToldExperiment:
    return ToldExperiment(
        name=assigned.experiment,
        variant=assigned.variant,
        backend=assigned.target.backend,
        hindrance=assigned.hindrance,
    )


def _attempt(target: Target, planned: Planned, headers: Headers, body: bytes, number: int) -> ToldAttempt:
    """What the attempt stage would do with what arrival left it."""
    arrived = [(name, value) for name, value in headers.items() if name not in planned.remove_headers]
    left = [(name, value.decode()) for name, value in planned.set_headers]
    seen = Headers([*arrived, *left, (ENVOY_ATTEMPT_COUNT, str(number))])
    attempt = begin_attempt(seen, _without_secret(target), started=planned.facts.arrived)
    price = planned.facts.estimated_cost(target)
    told = ToldAttempt(backend=target.backend, request=None, estimated_cost=None if price is None else str(price))
    if target.provider.answer is not None:
        return told
    try:
        written = attempt.encode(seen, body)
    except KortexError as refused:
        return replace(told, refused=refused.message)
    sent = {name: value for name, value in seen.items() if name not in written.remove_headers}
    sent |= dict(written.set_headers)
    scheme = target.settings.url.partition("://")[0]
    request = ToldRequest(
        method=sent[":method"],
        url=f"{scheme}://{sent[':authority']}{sent[':path']}",
        headers=tuple(
            (name, _HIDDEN if is_secret(name) else value)
            for name, value in sent.items()
            if name[0] != ":" and not name.startswith(INTERNAL_PREFIXES)
        ),
        body=(body if written.body is None else written.body).decode("utf-8", "replace"),
    )
    return replace(told, request=request, dropped=written.dropped)


def _without_secret(target: Target) -> Target:
    """A credential is only a word in its place: the real one is not read."""
    token = target.provider.token
    has_one = target.settings.api_key is not None or (token is not None and token(target.settings) is not None)
    return replace(target, credential=lambda: _HIDDEN if has_one else None)
