"""The decision: which rule matches, which of its backends may serve the call, in which order, and why. Pure.

The same facts, states and id decide the same on every worker: ``kortex explain`` runs just this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from extproc.config.units import HeaderUnit
from extproc.routing.eligible import DRAINED, Exclusion, exclusion
from extproc.routing.experiment import Assigned, assign
from extproc.routing.expression import ExpressionFailed
from extproc.routing.facts import Facts
from extproc.routing.health import BackendStates, Circuit
from extproc.routing.order import STRATEGIES, Contest
from extproc.routing.route import Choice, CompiledRoute, CompiledRule, Refusal, Split
from extproc.routing.target import Target

_FALLBACK: Final = "fallback"
_LONGEST_REASON: Final = 300

_Ready: TypeAlias = tuple[Target, str, float | None]
"""A target that may serve the call, why it has its place, and its score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A backend that was considered. ``place`` counts from 1 in the plan; None where it is left out of it."""

    target: Target
    place: int | None
    reason: str
    score: float | None = None
    excluded: Exclusion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``candidates`` are the plan in its order, then those left out. ``rule`` None: the route's default backend."""

    id: str
    route: str
    rule: str | None
    strategy: str
    candidates: tuple[Candidate, ...]
    refusal: Refusal | None = None
    failed_rules: tuple[str, ...] = ()
    """Rules whose expression gave no answer."""
    assigned: tuple[Assigned, ...] = ()
    """The experiments that the call was drawn into."""

    @property
    def experiments(self) -> tuple[str, ...]:
        """``name=variant`` of those that it counts for."""
        return tuple(one.tag for one in self.assigned if one.hindrance is None)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The plan; empty when nobody may serve the call."""
        return tuple(candidate.target for candidate in self.candidates if candidate.place is not None)

    @property
    def reason(self) -> str:
        """In a line, for the access log and headers: bounded, for clients can give features long names."""
        told = [self.candidates[0].reason if self.targets else "nobody is to serve it"]
        told += [
            f"{candidate.target.backend} {candidate.excluded.reason}"
            for candidate in self.candidates
            if candidate.excluded is not None
        ]
        line = "; ".join(told)[:_LONGEST_REASON]
        return line if line.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in line)


def decide(facts: Facts, route: CompiledRoute, states: BackendStates) -> Decision:
    """Where the call goes. ``facts.id`` is the chance in it: another id may draw another backend."""
    failed: list[str] = []
    rule = _first_match(route, facts, failed)
    result = route.default if rule is None else rule.result
    name = None if rule is None else rule.name
    if isinstance(result, Refusal):
        return Decision(
            id=facts.id,
            route=route.name,
            rule=name,
            strategy="refuse",
            candidates=(),
            refusal=result,
            failed_rules=tuple(failed),
        )
    candidates, assigned = _candidates(facts, route, result, states)
    return Decision(
        id=facts.id,
        route=route.name,
        rule=name,
        strategy=result.strategy,
        candidates=candidates,
        assigned=assigned,
        failed_rules=tuple(failed),
    )


def _first_match(route: CompiledRoute, facts: Facts, failed: list[str]) -> CompiledRule | None:
    for rule in route.rules:
        try:
            for condition in rule.conditions:
                if not condition.holds(facts):
                    break
            else:
                return rule
        except ExpressionFailed:
            failed.append(rule.name)
    return None


def _candidates(
    facts: Facts, route: CompiledRoute, split: Split, states: BackendStates
) -> tuple[tuple[Candidate, ...], tuple[Assigned, ...]]:
    """The rule's backends in their order, the fallback, those whose circuit is open; then those left out."""
    able: list[Choice] = []
    left_out: list[Candidate] = []
    for choice in split.choices:
        excluded = exclusion(choice.target, facts, strict=route.strict) if choice.weight else DRAINED
        if excluded is None:
            able.append(choice)
        else:
            left_out.append(_left_out(choice.target, excluded))
    ready: list[_Ready] = [*_ordered(facts, split, able, states)]
    named = {choice.target.backend for choice in split.choices}
    for target in route.fallback:
        if target.backend in named:
            continue
        excluded = exclusion(target, facts, strict=route.strict)
        if excluded is None:
            ready.append((target, _FALLBACK, None))
        else:
            left_out.append(_left_out(target, excluded))
    assigned = _experiment(facts, route, ready, left_out, states)
    return (*_placed(ready, states), *left_out), assigned


def _experiment(
    facts: Facts, route: CompiledRoute, ready: list[_Ready], left_out: list[Candidate], states: BackendStates
) -> tuple[Assigned, ...]:
    """Puts first the backend of the first variant that moves the call and whose backend may serve it."""
    if not route.experiments or not ready:
        return ()
    judged = {candidate.target.backend: candidate.excluded for candidate in left_out}
    judged |= dict.fromkeys((target.backend for target, _, _ in ready), None)

    def excluded(target: Target) -> Exclusion | None:
        if target.backend not in judged:
            judged[target.backend] = exclusion(target, facts, strict=route.strict)
        return judged[target.backend]

    def unable(target: Target) -> str | None:
        found, circuit = excluded(target), states.state(target.backend).circuit
        if found is not None:
            return found.reason
        return None if circuit is Circuit.CLOSED else f"has a circuit that is {circuit.value}"

    base = ready[0][0]
    assigned = assign(route.experiments, facts, base, unable)
    first = next((one for one in assigned if one.target is not base and excluded(one.target) is None), None)
    if first is not None:
        rest = [one for one in ready if one[0] is not first.target]
        ready[:] = [(first.target, f"experiment {first.experiment}: {first.variant}", None), *rest]
    return assigned


def _ordered(facts: Facts, split: Split, able: list[Choice], states: BackendStates) -> Iterator[_Ready]:
    if len(split.choices) == 1:
        yield from ((choice.target, "the only backend", None) for choice in able)
        return
    if not able:
        return
    unit = None if split.affinity is None else facts.unit(split.affinity)
    contest = Contest(
        choices=tuple(able),
        facts=facts,
        states=states,
        unit=facts.id if unit is None else unit,
        kept=None if unit is None else _name_of(split),
    )
    for ranked in STRATEGIES[split.strategy](contest):
        yield ranked.choice.target, ranked.reason, ranked.score


def _name_of(split: Split) -> str:
    by = split.affinity
    return f"header {by.header}" if isinstance(by, HeaderUnit) else str(by)


def _placed(ready: list[_Ready], states: BackendStates) -> Iterator[Candidate]:
    """An open backend goes to the end, never out of the plan: when all are open, the first still gets its chance."""
    front = [one for one in ready if states.state(one[0].backend).available]
    back = [one for one in ready if not states.state(one[0].backend).available]
    for place, (target, reason, score) in enumerate((*front, *back), start=1):
        told = reason if place <= len(front) else f"{reason}; last, for its circuit is open"
        yield Candidate(target=target, place=place, reason=told, score=score)


def _left_out(target: Target, excluded: Exclusion) -> Candidate:
    return Candidate(target=target, place=None, reason=excluded.reason, excluded=excluded)
