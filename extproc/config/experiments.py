"""``experiments:`` two backends compared on a route's own traffic."""

from __future__ import annotations

from pydantic import Field, model_validator

from extproc.config.scalars import Model, Name
from extproc.config.units import Unit


class Experiment(Model):
    """Part of the calls that would go to ``control`` go to ``treatment`` instead: always the same part."""

    name: Name
    """What it is called in headers, metrics and reports; another name draws another part."""
    control: str
    """The backend that serves without the experiment."""
    treatment: str
    """The backend to compare with it."""
    traffic_percent: float = Field(default=10.0, ge=0, le=100)
    """Per cent of the units that get the treatment: 0 none, 100 all."""
    unit: Unit = "user"
    """What stays with its variant. A call that belongs to none is a unit of its own."""

    @model_validator(mode="after")
    def _two_backends(self) -> Experiment:
        if self.control == self.treatment:
            msg = "control and treatment are the same backend"
            raise ValueError(msg)
        return self
