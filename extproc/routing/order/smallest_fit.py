"""``smallestFit``: the smallest context window, of those that hold the prompt and the answer."""

from __future__ import annotations

from extproc.routing.order.base import Contest, Ranked
from extproc.routing.route import Choice


def smallest_fit(contest: Contest) -> list[Ranked]:
    """The others are not eligible in the first place. A window that nobody knows comes last."""
    ranked = [
        Ranked(
            choice=choice,
            score=None if window is None else float(window),
            reason="window not known" if window is None else f"window of {window} tokens",
        )
        for choice in contest.choices
        for window in (_window(contest, choice),)
    ]
    return sorted(ranked, key=lambda one: (one.score is None, one.score or 0.0))


def _window(contest: Contest, choice: Choice) -> int | None:
    model = choice.target.model(contest.facts.upstream_model)
    return choice.target.facts(model).context_window
