"""Experiments: which variant a unit belongs to, and which calls count for it. Nothing is stored: a hash remembers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from extproc.config.experiments import Experiment
from extproc.routing.chance import share
from extproc.routing.facts import Facts
from extproc.routing.target import Target

CONTROL: Final = "control"
TREATMENT: Final = "treatment"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledExperiment:
    """Its name salts the draw, so that where a unit is in one experiment says nothing of where it is in another."""

    settings: Experiment
    control: Target
    treatment: Target

    def concerns(self, target: Target) -> bool:
        """Whether a call that would go there is part of it."""
        return target.backend in {self.control.backend, self.treatment.backend}

    def treats(self, facts: Facts) -> bool:
        """Whether the call's unit gets the treatment: the same on every worker and after every restart."""
        unit = facts.unit(self.settings.unit)
        drawn = share("experiment", self.settings.name, facts.id if unit is None else unit)
        return drawn * 100 < self.settings.traffic_percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """A call's place in an experiment. ``hindrance`` is why it does not count; None where it does: it is exposed."""

    experiment: str
    variant: str
    target: Target
    hindrance: str | None

    @property
    def tag(self) -> str:
        """``name=variant``, as headers and records have it."""
        return f"{self.experiment}={self.variant}"


def read_tag(tag: str) -> tuple[str, str]:
    """The experiment and the variant of a tag."""
    name, _, variant = tag.partition("=")
    return name, variant


def assign(
    experiments: Sequence[CompiledExperiment], facts: Facts, base: Target, unable: Callable[[Target], str | None]
) -> tuple[Assigned, ...]:
    """The variants of a call that would go to ``base``. ``unable`` says why a backend cannot be asked first.

    Whether a call counts must not depend on its own variant, or the two would be compared over different calls
    (https://doi.org/10.1145/3292500.3330722): both backends must be able to serve it, and no other experiment may
    move it away.
    """
    drawn = [(one, one.treats(facts)) for one in experiments if one.concerns(base)]
    wanted = [one.treatment if treated else one.control for one, treated in drawn]
    moving = [one.settings.name for (one, _), target in zip(drawn, wanted, strict=True) if target is not base]
    return tuple(
        Assigned(
            experiment=one.settings.name,
            variant=TREATMENT if treated else CONTROL,
            target=target,
            hindrance=_hindrance(one, moving, unable),
        )
        for (one, treated), target in zip(drawn, wanted, strict=True)
    )


def _hindrance(one: CompiledExperiment, moving: Sequence[str], unable: Callable[[Target], str | None]) -> str | None:
    for target in (one.control, one.treatment):
        reason = unable(target)
        if reason is not None:
            return f"{target.backend} {reason}"
    other = next((name for name in moving if name != one.settings.name), None)
    return None if other is None else f"experiment {other} moves the call"
