"""``leastBusy``: the fewest attempts under way, for its weight."""

from __future__ import annotations

from extproc.routing.order.base import Contest, Ranked


def least_busy(contest: Contest) -> list[Ranked]:
    """A backend of weight 2 may have twice as many. Equals are drawn, or all workers would run to the same one."""
    ranked = [
        Ranked(choice=choice, score=busy / choice.weight, reason=f"{busy} under way, weight {choice.weight}")
        for choice in contest.choices
        for busy in (contest.states.state(choice.target.backend).in_flight,)
    ]
    return sorted(ranked, key=lambda one: (one.score, contest.drawn(one.choice)))
