"""A circuit breaker: after too many failures a backend is spared, then probed, then trusted again.

CLOSED ──consecutive failures, or their rate──► OPEN ──its time is over──► HALF_OPEN ──successes──► CLOSED
▲                             │
└──────── a failure, for twice as long ◄┘
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from extproc.routing.health import Circuit

_BUCKETS: Final = 10
_LONGEST_RETRY_AFTER: Final = 600.0
"""Seconds. Some providers give the time until a day's quota is full again; the backend may be mended long before."""
_LEAST_JITTER: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """``failure_rate`` is a share of 1; durations are seconds."""

    enabled: bool = True
    consecutive_failures: int
    failure_rate: float
    window: float
    minimum_requests: int
    open_for: float
    open_for_at_most: float
    half_open_requests: int
    successes_to_close: int


class Breaker:
    """One backend's. ``now`` is Unix seconds and never goes far back; ``chance`` is a number in [0, 1)."""

    __slots__ = (
        "_buckets",
        "_failures_in_a_row",
        "_successes",
        "_times_opened",
        "circuit",
        "reason",
        "settings",
        "since",
        "until",
    )

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings = settings
        self.circuit = Circuit.CLOSED
        self.reason: str | None = None
        self.since: float | None = None
        self.until = 0.0
        """When an open circuit is next probed."""
        self._buckets: deque[list[float]] = deque()
        self._failures_in_a_row = 0
        self._successes = 0
        self._times_opened = 0

    def tick(self, now: float) -> None:
        """An open circuit whose time is over may be probed; one that was switched off is closed."""
        if not self.settings.enabled and self.circuit is not Circuit.CLOSED:
            self._close(now)
        if self.circuit is Circuit.OPEN and now >= self.until:
            self._enter(Circuit.HALF_OPEN, now)
            self._successes = 0

    def succeeded(self, now: float) -> None:
        """An attempt was answered. While open this tells nothing: the attempt may have begun long before."""
        self.tick(now)
        if self.circuit is Circuit.CLOSED:
            self._failures_in_a_row = 0
            self._count(now, failed=False)
        elif self.circuit is Circuit.HALF_OPEN:
            self._successes += 1
            if self._successes >= self.settings.successes_to_close:
                self._close(now)

    def failed(self, now: float, *, reason: str, chance: float, retry_after: float | None = None) -> None:
        """An attempt failed in a way that the next one may share. ``retry_after``: seconds the provider asked for."""
        self.tick(now)
        if not self.settings.enabled:
            return
        if retry_after is not None and retry_after > 0:
            until = now + min(retry_after, _LONGEST_RETRY_AFTER)
            if self.circuit is not Circuit.OPEN:
                self._open(now, reason, until)
            self.until = max(self.until, until)
        elif self.circuit is Circuit.HALF_OPEN:
            self._open(now, reason, now + self._time_open(chance))
        elif self.circuit is Circuit.CLOSED:
            self._failures_in_a_row += 1
            self._count(now, failed=True)
            if self._too_many():
                self._open(now, reason, now + self._time_open(chance))

    def _too_many(self) -> bool:
        if self._failures_in_a_row >= self.settings.consecutive_failures:
            return True
        failures = sum(bucket[2] for bucket in self._buckets)
        total = failures + sum(bucket[1] for bucket in self._buckets)
        return total >= self.settings.minimum_requests and failures >= self.settings.failure_rate * total

    def _count(self, now: float, *, failed: bool) -> None:
        width = self.settings.window / _BUCKETS
        while self._buckets and self._buckets[0][0] <= now - self.settings.window:
            self._buckets.popleft()
        if not self._buckets or now >= self._buckets[-1][0] + width:
            self._buckets.append([now, 0, 0])
        self._buckets[-1][2 if failed else 1] += 1

    def _time_open(self, chance: float) -> float:
        """Twice as long each time, with jitter towards less, so that many gateways do not probe as one."""
        longest = self.settings.open_for_at_most
        time_open = min(self.settings.open_for * 2.0 ** min(self._times_opened, 32), longest)
        self._times_opened += 1
        return time_open * (_LEAST_JITTER + (1 - _LEAST_JITTER) * chance)

    def _open(self, now: float, reason: str, until: float) -> None:
        self._enter(Circuit.OPEN, now)
        self.reason = reason
        self.until = until
        self._successes = 0

    def _close(self, now: float) -> None:
        self._enter(Circuit.CLOSED, now)
        self.reason = None
        self._failures_in_a_row = 0
        self._buckets.clear()
        self._times_opened = 0

    def _enter(self, circuit: Circuit, now: float) -> None:
        self.circuit = circuit
        self.since = now
