"""All that counts the calls of one caller to one model on one route: most calls find it made for one before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from extproc.admission.charge import Line, Reserved
from extproc.admission.demand import Demand
from extproc.admission.judgement import Headers, Rates, enforced_rates, rate_headers
from extproc.admission.policy import BudgetPolicy, Drawn, Policy
from extproc.admission.scope import Subject

_FULL: Final = 100
_MOST_KNOWN: Final = 16_384


class Tariff:
    """``policies`` are those that count such a call, in the order of the config."""

    __slots__ = ("_parts", "_rates", "_shadows", "_watched", "closed", "counts_tokens", "enforces_output", "owners")

    def __init__(self, policies: Sequence[Policy], subject: Subject) -> None:
        owned = [(policy, part) for policy in policies for part in policy.parts(subject)]
        self.owners = tuple([policy for policy, _ in owned])
        """Of each line."""
        self._parts = tuple([part for _, part in owned])
        self._rates: Rates | None = None
        self._shadows = tuple([index for index, owner in enumerate(self.owners) if not owner.enforced])
        self._watched = tuple(
            [
                (index, _ample(owner))
                for index, owner in enumerate(self.owners)
                if isinstance(owner, BudgetPolicy) and (owner.thresholds or owner.tiers)
            ]
        )
        self.counts_tokens = any(policy.counts_tokens for policy in policies)
        self.closed = any(policy.closed for policy in policies)
        """Whether a call is refused while nobody can count."""
        budgets = [policy for policy in policies if isinstance(policy, BudgetPolicy)]
        self.enforces_output = any(budget.estimator.output == "enforced" for budget in budgets)

    def lines(self, demand: Demand, now: float) -> list[Line]:
        """What a call takes; ``now`` is Unix seconds on the store's clock."""
        return [part.line(demand, now) for part in self._parts]

    def drawn(self, lines: Sequence[Line]) -> list[Drawn]:
        """The same lines, and on whose behalf."""
        return list(map(Drawn, self.owners, lines))

    def is_quiet(self, reserved: Reserved) -> bool:
        """Whether all was taken, and no budget is so far used that anybody is told, or calls are made cheaper."""
        levels = reserved.levels
        for index, ample in self._watched:
            if levels[index].free <= ample:
                return False
        for index in self._shadows:
            if not levels[index].taken:
                return False
        return reserved.granted

    def headers(self, lines: Sequence[Line], reserved: Reserved) -> Headers:
        """See ``rate_headers``. Lines differ in their amounts, but not in their rates."""
        if self._rates is None:
            self._rates = enforced_rates(lines)
        return rate_headers(self._rates, reserved)


class Tariffs:
    """Of one config. Where a header tells calls apart, each has a tariff of its own."""

    __slots__ = ("_known", "_policies")

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = tuple(policies)
        self._known: dict[tuple[str | None, str, str], Tariff | None] = {}

    def of(self, subject: Subject, own: Sequence[Policy]) -> Tariff | None:
        """``own`` are the policies of the caller's key; None where nothing counts the call."""
        if not (own or self._policies):
            return None
        name = (subject.caller.key, subject.route, subject.model)
        if name in self._known:
            return self._known[name]
        policies = (*self._policies, *own)
        applying = [policy for policy in policies if policy.scope.includes(subject)]
        tariff = Tariff(applying, subject) if applying else None
        if not any(policy.scope.reads_headers for policy in applying):
            if len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[name] = tariff
        return tariff


def _ample(budget: BudgetPolicy) -> int:
    """More than that is free for as long as its first threshold or tier is out of reach."""
    first = min((*budget.thresholds, *[tier.at for tier in budget.tiers]))
    return budget.limit * (_FULL - first) // _FULL + 1
