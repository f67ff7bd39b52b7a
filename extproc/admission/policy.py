"""Limits and budgets, compiled: from a call to the lines that it takes from each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from extproc.admission.charge import Line, Rate, Unit, Window
from extproc.admission.demand import Demand, billionths
from extproc.admission.scope import HEADER, Scope, Subject, scope
from extproc.admission.window import Clockwork, clockwork
from extproc.config.limits import Budget, Estimator, Limit, RouteRateLimit, Tier

_MINUTE: Final = 60.0
_LONGEST_REQUEST: Final = 86_400.0
_AT_ONCE: Final = Estimator()


class Part(Protocol):
    """One counter of a limit or budget, for one caller: what a call takes from it."""

    def line(self, demand: Demand, now: float) -> Line:
        """``now`` is Unix seconds on the store's clock."""


@dataclass(frozen=True, slots=True)
class _Requests:
    """Every call takes the same."""

    one: Line

    def line(self, demand: Demand, now: float) -> Line:  # noqa: ARG002 - see Part
        return self.one


@dataclass(frozen=True, slots=True)
class _Tokens:
    counter: str
    rate: Rate
    enforced: bool

    def line(self, demand: Demand, now: float) -> Line:  # noqa: ARG002 - see Part
        return Line(self.counter, Unit.TOKENS, demand.input + demand.output(_AT_ONCE), self.rate, self.enforced)


class _Concurrent:
    """When it is over is of no account to a request: the same line serves a minute long."""

    __slots__ = ("_counter", "_enforced", "_line", "_most", "_until")

    def __init__(self, counter: str, most: int, *, enforced: bool) -> None:
        self._counter = counter
        self._most = most
        self._enforced = enforced
        self._until = 0.0
        self._line: Line | None = None

    def line(self, demand: Demand, now: float) -> Line:  # noqa: ARG002 - see Part
        until = now + _LONGEST_REQUEST
        if self._line is None or not self._until - _MINUTE <= until <= self._until:
            self._until = until + _MINUTE
            window = Window(self._most, 0, 0, None, self._until)
            self._line = Line(self._counter, Unit.CONCURRENT, 1, window, self._enforced)
        return self._line


@dataclass(frozen=True, slots=True)
class _Budget:
    counter: str
    limit: int
    currency: str | None
    clockwork: Clockwork
    estimator: Estimator

    def line(self, demand: Demand, now: float) -> Line:
        output = demand.output(self.estimator)
        window = self.clockwork.at(now, self.limit)
        if self.currency is None:
            return Line(self.counter, Unit.TOKENS, demand.input + output, window)
        return Line(self.counter, Unit.MONEY, demand.money(output, self.currency), window, currency=self.currency)


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

    def parts(self, subject: Subject) -> list[Part]:
        """Of the one who calls."""
        own, enforced = self.scope.counter(subject), self.enforced
        parts: list[Part] = []
        if self.requests is not None:
            counter = f"{self.counter}/{Unit.REQUESTS}/{own}"
            parts.append(_Requests(Line(counter, Unit.REQUESTS, 1, self.requests, enforced)))
        if self.tokens is not None:
            parts.append(_Tokens(f"{self.counter}/{Unit.TOKENS}/{own}", self.tokens, enforced))
        if self.concurrent is not None:
            counter = f"{self.counter}/{Unit.CONCURRENT}/{own}"
            parts.append(_Concurrent(counter, self.concurrent, enforced=enforced))
        return parts


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

    def parts(self, subject: Subject) -> list[Part]:
        """The one, of the one who calls."""
        counter = f"{self.counter}/{self.scope.counter(subject)}"
        return [_Budget(counter, self.limit, self.currency, self.clockwork, self.estimator)]


Policy = LimitPolicy | BudgetPolicy


class Drawn(NamedTuple):
    """A line, and on whose behalf."""

    policy: Policy
    line: Line


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
