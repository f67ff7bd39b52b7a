"""``weighted``: each backend first by its share of the weights, then the next by its share of those left."""

from __future__ import annotations

from extproc.routing.order.base import Contest, Ranked


def weighted(contest: Contest) -> list[Ranked]:
    """In the order of a race over the unit: drawn afresh for each call, or the same for all of a user's."""
    total = sum(choice.weight for choice in contest.choices)
    how = "drawn" if contest.kept is None else f"kept by {contest.kept}"
    ranked = [
        Ranked(choice=choice, score=contest.drawn(choice), reason=f"{how}, weight {choice.weight} of {total}")
        for choice in contest.choices
    ]
    return sorted(ranked, key=lambda one: one.score or 0.0)
