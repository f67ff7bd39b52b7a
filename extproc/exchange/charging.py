"""From a call to what it takes of limits and budgets, and from an attempt's outcome to what it really used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from extproc.admission.charge import Line, Reserved, held_lines
from extproc.admission.demand import Demand, whole_billionths
from extproc.admission.policy import BudgetPolicy, Policy
from extproc.admission.settlement import NOTHING_USED, Reservation, Used, growth_of
from extproc.admission.tariff import Tariff
from extproc.config.limits import Tier
from extproc.exchange.outcome import Outcome
from extproc.headers import BROWNOUT, MAX_OUTPUT
from extproc.metering.estimate import estimate_input, requested_answers, requested_output
from extproc.openai.call import Call, Operation
from extproc.routing.target import Target

_NOTHING: Final = Demand(input=0, asked=None, most=None, prices=())
_PLAIN: Final = (None,)
_MOST_BOOKED: Final = 10**17
"""By one attempt. A server may report any number, and stores count in 64 bits: several of them must still be a sum."""


class Charge(NamedTuple):
    """What has to be reserved before the call may go: to be asked for by the clock of whoever keeps the counters."""

    tariff: Tariff
    demand: Demand
    stream: bool = False
    max_output: int | None = None
    """The longest that each answer may be to be paid for by what is held; None where no budget enforces that."""

    @property
    def counted(self) -> int | None:
        """The prompt's tokens; None where no policy wants to know them."""
        return None if self.demand is _NOTHING else self.demand.input

    def lines(self, now: float) -> list[Line]:
        """``now`` is Unix seconds."""
        return self.tariff.lines(self.demand, now)

    def reservation(self, identity: str, lines: Sequence[Line], reserved: Reserved) -> Reservation:
        """What was granted, for the request to carry along."""
        held = held_lines(lines, reserved)
        headers = self.tariff.headers(lines, reserved)
        if self.max_output is not None:
            headers = (*headers, (MAX_OUTPUT, str(self.max_output)))
        whole = Reservation(identity if held else "", held, headers)
        if not self.stream:
            return whole
        budgets = [
            (owner, line)
            for owner, line in zip(self.tariff.owners, lines, strict=True)
            if isinstance(owner, BudgetPolicy)
        ]
        outputs = [self.demand.output(budget.estimator) for budget, _ in budgets]
        return whole._replace(
            output=min(outputs, default=None), growths=tuple([growth_of(line) for _, line in budgets])
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Brownout:
    """A budget that runs low, and how the call is made cheaper for it."""

    budget: str
    tier: Tier


def told_of(brownout: Brownout, reservation: Reservation) -> Reservation:
    """The same, whose replies say what the call was made cheaper for."""
    header = (BROWNOUT, f"{brownout.budget}; at={brownout.tier.at}%")
    return reservation._replace(headers=(*reservation.headers, header))


def charge_for(
    tariff: Tariff | None,
    call: Call,
    fields: Mapping[str, Any],
    *,
    targets: Sequence[tuple[Target, str]],
    images: int,
    now: float,
) -> Charge | None:
    """``targets`` are those of the plan, each with its name for the model. None where nothing counts the call.

    ``images`` are those that a target charges for. The prompt is counted only where somebody counts tokens.
    """
    if tariff is None:
        return None
    if not tariff.counts_tokens:
        return Charge(tariff, _NOTHING)
    known = [limit for target, _ in targets if (limit := target.settings.max_output) is not None]
    tiers = _tiers(fields)
    demand = Demand(
        input=estimate_input(fields, call.operation, targets[0][1]).tokens,
        asked=requested_output(fields),
        most=max(known, default=None),
        prices=tuple([target.price(model, at=now, service_tier=tier) for target, model in targets for tier in tiers]),
        images=images,
    )
    most = None
    if tariff.enforces_output and not call.stream and call.operation is not Operation.EMBEDDINGS:
        longest = _enforced(tariff.owners, demand)
        most = None if longest is None else max(1, longest // requested_answers(fields))
    return Charge(tariff, demand, call.stream, most)


def _tiers(fields: Mapping[str, Any]) -> tuple[str | None, ...]:
    """Those that may serve the call: a provider that has no room for it in the one it asks for may take another."""
    return (None, "priority") if fields.get("service_tier") == "priority" else _PLAIN


def _enforced(policies: Sequence[Policy], demand: Demand) -> int | None:
    """For all choices together. A stream need not be told: it asks for more, or is ended."""
    estimators = [policy.estimator for policy in policies if isinstance(policy, BudgetPolicy)]
    longest = min([demand.output(one) for one in estimators if one.output == "enforced"], default=None)
    return None if longest is None or (demand.asked is not None and demand.asked <= longest) else longest


def used_by(outcome: Outcome) -> Used:
    """As reported, or as estimated where nobody told."""
    usage, money = outcome.usage, outcome.cost
    if usage is None:
        return NOTHING_USED
    tokens = min(usage.input + usage.output, _MOST_BOOKED)
    if money is None:
        return Used(tokens=tokens)
    whole, rest = whole_billionths(money.amount)
    return Used(tokens, min(whole, _MOST_BOOKED), money.currency, rest)
