"""What a strategy is given, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass

from extproc.routing.chance import arrival
from extproc.routing.facts import Facts
from extproc.routing.health import BackendStates
from extproc.routing.route import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The backends that could serve a call. ``unit`` is what stays together: the call itself, or what it belongs to."""

    choices: tuple[Choice, ...]
    facts: Facts
    states: BackendStates
    unit: str
    kept: str | None = None
    """What the unit is, in words, where there is an affinity."""

    def drawn(self, choice: Choice) -> float:
        """When the choice arrives in the race over the unit; see ``chance.arrival``."""
        return arrival(self.unit, choice.target.backend, choice.weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A choice in its place. ``score`` is what the strategy compares, lower is better; None where it knows nothing."""

    choice: Choice
    score: float | None
    reason: str
