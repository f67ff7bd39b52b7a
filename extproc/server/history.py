"""What became of each config: the number in force, since when, and why the last one offered was refused."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from extproc.exchange.snapshot import Snapshot
from extproc.metering.price_list import price_list


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A config that changed nothing. ``at`` is Unix seconds."""

    at: float
    problem: str


class History:
    """For ``/config`` and the metrics of reloads."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._since = time.time()
        self._refused: Refused | None = None
        self.accepted = 0
        self.rejected = 0

    def accept(self, snapshot: Snapshot) -> None:
        """A new config is in force; what was wrong with one before no longer matters."""
        self._snapshot = snapshot
        self._since = time.time()
        self._refused = None
        self.accepted += 1

    def refuse(self, problem: str) -> None:
        """The config in force stays."""
        self._refused = Refused(at=time.time(), problem=problem)
        self.rejected += 1

    @property
    def number(self) -> int:
        """The number of the config in force."""
        return self._snapshot.number

    @property
    def last_refused(self) -> Refused | None:
        """The newest config offered, where it was refused."""
        return self._refused

    def describe(self) -> dict[str, Any]:
        """JSON-ready; secrets are references in a config, never values."""
        refused = self._refused
        return {
            "number": self._snapshot.number,
            "since": self._since,
            "reloads": {"accepted": self.accepted, "rejected": self.rejected},
            "lastError": None if refused is None else {"at": refused.at, "message": refused.problem},
            "prices": str(price_list(datetime.now(UTC).date())),
            "config": self._snapshot.config.redacted(),
        }
