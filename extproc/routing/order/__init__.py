"""Who first? One file per strategy: the eligible backends of a rule in an order, each with its score and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

from extproc.config.routes import Strategy
from extproc.routing.order.base import Contest, Ranked
from extproc.routing.order.cheapest import cheapest
from extproc.routing.order.fastest import fastest
from extproc.routing.order.least_busy import least_busy
from extproc.routing.order.priority import priority
from extproc.routing.order.smallest_fit import smallest_fit
from extproc.routing.order.weighted import weighted

__all__ = ["STRATEGIES", "Contest", "Ranked"]

_Order: TypeAlias = Callable[[Contest], Sequence[Ranked]]

STRATEGIES: Final[Mapping[Strategy, _Order]] = MappingProxyType(
    {
        "weighted": weighted,
        "priority": priority,
        "cheapest": cheapest,
        "fastest": fastest,
        "leastBusy": least_busy,
        "smallestFit": smallest_fit,
    }
)
