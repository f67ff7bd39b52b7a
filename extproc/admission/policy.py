"""Limits and budgets, compiled: from a call to the lines that it takes from each of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from extproc.admission.charge import Line, Rate, Unit, Window
from extproc.admission.demand import Demand, billionths
from extproc.admission.scope import HEADER, Scope, Subject, scope
from extproc.admission.window import Clockwork, clockwork
from extproc.config.limits import Budget, Estimator, Limit, RouteRateLimit, Tier

_MINUTE: Final = 60.0
_LONGEST_REQUEST: Final = 86_400.0
_AT_ONCE: Final = Estimator()


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitPolicy:
    """How fast. ``closed``: what it is for is refused while nobody can count."""

    name: str
    counter: str
    """Begins the names of its counters."""
    scope: Scope
    requests: Rate | None
    tokens: Rate | None
    concurrent: int | None
    enforced: bool
    closed: bool
    counts_tokens: bool

    def lines(self, subject: Subject, demand: Demand, now: float) -> list[Line]:
        """What the call takes."""
        requests, tokens, concurrent = _names(self.counter, self.scope.counter(subject))
        enforced = self.enforced
        lines = []
        if self.requests is not None:
            lines.append(Line(requests, Unit.REQUESTS, 1, self.requests, enforced))
        if self.tokens is not None:
            lines.append(Line(tokens, Unit.TOKENS, demand.input + demand.output(_AT_ONCE), self.tokens, enforced))
        if self.concurrent is not None:
            window = Window(self.concurrent, 0, 0, None, now + _LONGEST_REQUEST)
            lines.append(Line(concurrent, Unit.CONCURRENT, 1, window, enforced))
        return lines


@lru_cache(maxsize=4_096)
def _names(policy: str, counter: str) -> tuple[str, str, str]:
    return (
        f"{policy}/{Unit.REQUESTS}/{counter}",
        f"{policy}/{Unit.TOKENS}/{counter}",
        f"{policy}/{Unit.CONCURRENT}/{counter}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPolicy:
    """How much in all. ``limit`` is tokens or, with a ``currency``, billionths of it."""

    name: str
    counter: str
    """Begins the names of its counters."""
    scope: Scope
    limit: int
    currency: str | None
    clockwork: Clockwork
    estimator: Estimator
    thresholds: tuple[int, ...]
    tiers: tuple[Tier, ...]
    """The last to apply first."""
    closed: bool
    enforced: bool = True
    counts_tokens: bool = True

    def lines(self, subject: Subject, demand: Demand, now: float) -> tuple[Line]:
        """What the call takes."""
        currency = self.currency
        output = demand.output(self.estimator)
        unit, amount = (
            (Unit.TOKENS, demand.input + output) if currency is None else (Unit.MONEY, demand.money(output, currency))
        )
        counter = f"{self.counter}/{self.scope.counter(subject)}"
        return (Line(counter, unit, amount, self.clockwork.at(now, self.limit), currency=currency),)


Policy = LimitPolicy | BudgetPolicy


class Drawn(NamedTuple):
    """A line, and on whose behalf."""

    policy: Policy
    line: Line


def applying(policies: Sequence[Policy], subject: Subject) -> tuple[Policy, ...]:
    """Those that count the call."""
    return tuple([policy for policy in policies if policy.scope.includes(subject)])


def draw(policies: Sequence[Policy], subject: Subject, demand: Demand, now: float) -> tuple[Drawn, ...]:
    """What the call takes from each; ``now`` is Unix seconds on the store's clock."""
    return tuple([Drawn(policy, line) for policy in policies for line in policy.lines(subject, demand, now)])


def compile_limit(limit: Limit, *, owner: str = "") -> LimitPolicy:
    """``owner`` is the key whose own limit it is: another's may be called alike."""
    minutes = limit.window / 1_000 / _MINUTE
    requests, tokens = limit.requests_per_minute, limit.tokens_per_minute
    return LimitPolicy(
        name=name_of(limit),
        counter=f"limit/{owner}/{name_of(limit)}",
        scope=scope(limit.per, limit.match.items()),
        requests=None if requests is None else _rate(requests, limit.burst or round(requests * minutes)),
        tokens=None if tokens is None else _rate(tokens, round(tokens * minutes)),
        concurrent=limit.concurrent,
        enforced=limit.mode == "enforce",
        closed=limit.on_store_failure == "closed",
        counts_tokens=tokens is not None,
    )


def compile_route_limit(route: str, limit: RouteRateLimit) -> LimitPolicy:
    """A route's own ``rateLimit``."""
    return LimitPolicy(
        name=f"route-{route}",
        counter=f"route/{route}",
        scope=scope((HEADER + limit.user_header.lower(),) if limit.per_user else ("gateway",), [("route", route)]),
        requests=_rate(limit.requests_per_minute, limit.requests_per_minute),
        tokens=None,
        concurrent=None,
        enforced=True,
        closed=False,
        counts_tokens=False,
    )


def compile_budget(budget: Budget, *, owner: str = "") -> BudgetPolicy:
    """``owner`` as in ``compile_limit``."""
    money = budget.amount is not None
    return BudgetPolicy(
        name=budget.name,
        counter=f"budget/{owner}/{budget.name}/{budget.currency if money else Unit.TOKENS}",
        scope=scope(budget.per, budget.match.items()),
        limit=billionths(budget.amount) if budget.amount is not None else budget.tokens or 0,
        currency=budget.currency if money else None,
        clockwork=clockwork(budget.window, budget.timezone),
        estimator=budget.estimator,
        thresholds=tuple(sorted(budget.thresholds, reverse=True)),
        tiers=tuple(sorted(budget.tiers, key=lambda tier: tier.at, reverse=True)),
        closed=budget.on_store_failure == "closed",
    )


def name_of(limit: Limit) -> str:
    """What a limit is called when nobody has named it."""
    return limit.name or "per-" + "-".join((limit.per,) if isinstance(limit.per, str) else limit.per)


def compile_policies(limits: Iterable[Limit], budgets: Iterable[Budget], *, owner: str = "") -> tuple[Policy, ...]:
    """In the order of the config."""
    return (
        *(compile_limit(limit, owner=owner) for limit in limits),
        *(compile_budget(budget, owner=owner) for budget in budgets),
    )


def _rate(per_minute: int, capacity: int) -> Rate:
    return Rate(capacity=max(1, capacity), per_second=per_minute / _MINUTE)
