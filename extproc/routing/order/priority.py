"""``priority``: as the config lists them."""

from __future__ import annotations

from extproc.routing.order.base import Contest, Ranked


def priority(contest: Contest) -> list[Ranked]:
    """The next only when the one before fails."""
    return [
        Ranked(choice=choice, score=float(place), reason=f"number {place} of the list")
        for place, choice in enumerate(contest.choices, start=1)
    ]
