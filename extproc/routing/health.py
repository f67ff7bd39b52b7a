"""What is known of the backends at this moment: whether they answer, how fast, and how busy they are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol


class Circuit(StrEnum):
    """A backend's circuit breaker. https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker"""

    CLOSED = "closed"
    OPEN = "open"
    """It failed too often: it goes to the end of every plan until its time is over."""
    HALF_OPEN = "half_open"
    """Its time is over: a few requests may try it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendState:
    """``since`` is Unix seconds. What nobody has measured yet is None."""

    circuit: Circuit = Circuit.CLOSED
    reason: str | None = None
    since: float | None = None
    first_token_ms: float | None = None
    """Decayed average, from sending a call until its answer begins."""
    tokens_per_second: float | None = None
    """Decayed average of output."""
    in_flight: int = 0
    """Attempts under way, over all workers of the host."""
    probe_until: float | None = None
    """When half-open: Unix seconds until which one request may begin to try it."""

    @property
    def available(self) -> bool:
        """Whether it may stand at the front of a plan."""
        return self.circuit is not Circuit.OPEN


UNKNOWN: Final = BackendState()
"""Of a backend nobody has called yet."""


class BackendStates(Protocol):
    """The states as one request sees them."""

    def state(self, backend: str) -> BackendState:
        """``UNKNOWN`` for a backend without history."""


class _NothingSeen:
    def state(self, backend: str) -> BackendState:  # noqa: ARG002 - the same for all
        return UNKNOWN


NOTHING_SEEN: Final[BackendStates] = _NothingSeen()
"""The states of backends that nobody has called yet."""
