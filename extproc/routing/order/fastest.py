"""``fastest``: the shortest wait to the end of the answer, as measured lately; now and then another is tried."""

from __future__ import annotations

from typing import Final

from extproc.routing.chance import share
from extproc.routing.health import BackendState
from extproc.routing.order.base import Contest, Ranked

EXPLORED: Final = 0.05
"""Share of the calls that go first to another than the fastest: who is never asked is never found to have recovered."""


def fastest(contest: Contest) -> list[Ranked]:
    """By time to the first token plus the time of the tokens expected; those nobody has measured come last."""
    tokens = contest.facts.expected_output
    ranked = []
    for choice in contest.choices:
        expected = _milliseconds(contest.states.state(choice.target.backend), tokens)
        reason = "not measured yet" if expected is None else f"about {expected:.0f} ms for {tokens} tokens"
        ranked.append(Ranked(choice=choice, score=expected, reason=reason))
    ranked.sort(key=lambda one: (one.score is None, one.score or 0.0, contest.drawn(one.choice)))
    if ranked[0].score is None or len(ranked) == 1 or share("explore", contest.unit) >= EXPLORED:
        return ranked
    explored = min(ranked[1:], key=lambda one: contest.drawn(one.choice))
    first = Ranked(choice=explored.choice, score=explored.score, reason=f"explored: {explored.reason}")
    return [first, *(one for one in ranked if one is not explored)]


def _milliseconds(state: BackendState, tokens: int) -> float | None:
    if state.first_token_ms is None:
        return None
    answering = 0.0 if not state.tokens_per_second else tokens / state.tokens_per_second * 1_000
    return state.first_token_ms + answering
