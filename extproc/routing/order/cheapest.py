"""``cheapest``: what this call would cost at each backend, by its prompt and the answer expected."""

from __future__ import annotations

from extproc.routing.order.base import Contest, Ranked


def cheapest(contest: Contest) -> list[Ranked]:
    """A backend without a price comes last: what it costs is not known, which is not the same as nothing.

    So does one with a price in another currency than the first: the two cannot be compared.
    """
    costs = [(choice, contest.facts.estimated_cost(choice.target)) for choice in contest.choices]
    currency = next((cost.currency for _, cost in costs if cost is not None), None)
    ranked = []
    for choice, cost in costs:
        comparable = cost is not None and cost.currency == currency
        reason = "no price known" if cost is None else f"about {cost}"
        score = float(cost.amount) if cost is not None and comparable else None
        ranked.append(Ranked(choice=choice, score=score, reason=reason))
    return sorted(ranked, key=lambda one: (one.score is None, one.score or 0.0))
