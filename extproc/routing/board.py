"""The board: what all workers of a host have seen of the backends, put together. One of it decides for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from extproc.routing.breaker import Breaker, BreakerSettings
from extproc.routing.health import BackendState, Circuit

_WEIGHT: Final = 0.2
"""Of the newest measurement in a decayed average."""
_UNUSED_PROBE: Final = 0.8
"""Seconds a worker has for using a probe: it may have no traffic."""
_UNHEARD_PROBE: Final = 1.0
"""Seconds after which another worker gets it. Meanwhile one that was used just in time is heard of."""
_LOST_PROBE: Final = 30.0
"""Seconds after which a probe without a result is given up. Answers may take longer, but then another may try too."""


class Result(StrEnum):
    """What an attempt says of its backend."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"
    """Nothing: the client left, or was refused for a reason of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One attempt that has ended, or a probe that nobody was sent with. ``retry_after`` is seconds."""

    backend: str
    result: Result
    probe: bool = False
    """Whether it was let through to try a half-open backend."""
    reason: str | None = None
    retry_after: float | None = None
    first_token_ms: float | None = None
    tokens_per_second: float | None = None


@dataclass(slots=True)
class _Probe:
    """Leave for one request to try a half-open backend."""

    worker: int
    given: float
    used: bool = False


@dataclass(slots=True)
class _Row:
    breaker: Breaker
    probes: list[_Probe]
    first_token_ms: float | None = None
    tokens_per_second: float | None = None
    unhealthy: str | None = None
    """Why its health check fails; None while it passes, or where there is none."""
    unhealthy_since: float | None = None


class Board:
    """Mutable, and used by one process only. ``now`` is Unix seconds; ``chance`` a number in [0, 1)."""

    def __init__(self, settings: Mapping[str, BreakerSettings]) -> None:
        self._rows: dict[str, _Row] = {}
        self._in_flight: dict[int, Mapping[str, int]] = {}
        self._turn = 0
        self.opened: dict[str, int] = {}
        """How often each circuit has opened."""
        self.configure(settings)

    def configure(self, settings: Mapping[str, BreakerSettings]) -> None:
        """Another config: backends that stay keep their history, also when their settings change."""
        rows: dict[str, _Row] = {}
        for backend, own in settings.items():
            row = self._rows.get(backend) or _Row(breaker=Breaker(own), probes=[])
            row.breaker.settings = own
            rows[backend] = row
        self._rows = rows
        self.opened = {backend: self.opened.get(backend, 0) for backend in rows}

    def observe(self, observation: Observation, *, now: float, chance: float) -> bool:
        """Take note of an attempt; True when a circuit changed. A backend that is no longer configured is ignored."""
        row = self._rows.get(observation.backend)
        if row is None:
            return False
        before = row.breaker.circuit
        if observation.result is Result.SUCCESS:
            row.breaker.succeeded(now)
            row.first_token_ms = _decayed(row.first_token_ms, observation.first_token_ms)
            row.tokens_per_second = _decayed(row.tokens_per_second, observation.tokens_per_second)
        elif observation.result is Result.FAILURE:
            row.breaker.failed(
                now, reason=observation.reason or "failure", chance=chance, retry_after=observation.retry_after
            )
        if observation.probe:
            self._end_probe(row)
        return self._moved(observation.backend, before)

    def running(self, worker: int, in_flight: Mapping[str, int]) -> None:
        """How many attempts a worker has under way, by backend."""
        self._in_flight[worker] = in_flight

    def probing(self, worker: int, backend: str) -> None:
        """A worker has sent a request on the strength of its probe."""
        row = self._rows.get(backend)
        for probe in row.probes if row else ():
            if probe.worker == worker and not probe.used:
                probe.used = True
                return

    def checked(self, backend: str, problem: str | None, *, now: float) -> bool:
        """What the health check says: ``problem`` None is healthy. True when that is news."""
        row = self._rows.get(backend)
        if row is None or row.unhealthy == problem:
            return False
        if (row.unhealthy is None) != (problem is None):
            row.unhealthy_since = now
        row.unhealthy = problem
        return True

    def forget(self, worker: int) -> None:
        """A worker is gone, and with it what it had under way."""
        self._in_flight.pop(worker, None)
        for row in self._rows.values():
            row.probes = [probe for probe in row.probes if probe.worker != worker]

    def tick(self, workers: Sequence[int], *, now: float) -> bool:
        """Let time pass and give probes out; True when any worker should hear of it."""
        changed = False
        for backend, row in self._rows.items():
            before = row.breaker.circuit
            row.breaker.tick(now)
            changed |= self._moved(backend, before)
            changed |= self._give_probes(row, workers, now)
        return changed

    def states(self, worker: int) -> dict[str, BackendState]:
        """As that worker shall see them: half-open only where it holds a probe, open otherwise."""
        return {backend: _seen_by(worker, row, self._state(backend, row)) for backend, row in self._rows.items()}

    def overview(self) -> dict[str, BackendState]:
        """As they are."""
        return {backend: self._state(backend, row) for backend, row in self._rows.items()}

    def _state(self, backend: str, row: _Row) -> BackendState:
        circuit, reason, since = row.breaker.circuit, row.breaker.reason, row.breaker.since
        if row.unhealthy is not None:
            circuit, reason, since = Circuit.OPEN, f"health check: {row.unhealthy}", row.unhealthy_since
        return BackendState(
            circuit=circuit,
            reason=reason,
            since=since,
            first_token_ms=row.first_token_ms,
            tokens_per_second=row.tokens_per_second,
            in_flight=sum(counts.get(backend, 0) for counts in self._in_flight.values()),
        )

    def _moved(self, backend: str, before: Circuit) -> bool:
        after = self._rows[backend].breaker.circuit
        if after is before:
            return False
        if after is Circuit.OPEN:
            self.opened[backend] += 1
        if after is not Circuit.HALF_OPEN:
            row = self._rows[backend]
            row.probes = [probe for probe in row.probes if probe.used]
        return True

    def _end_probe(self, row: _Row) -> None:
        """Whichever: another worker may have run the attempt than the one that planned it."""
        used = next((probe for probe in row.probes if probe.used), None)
        if used is not None:
            row.probes.remove(used)

    def _give_probes(self, row: _Row, workers: Sequence[int], now: float) -> bool:
        if row.breaker.circuit is not Circuit.HALF_OPEN or row.unhealthy is not None or not workers:
            return False
        kept = [probe for probe in row.probes if now - probe.given < (_LOST_PROBE if probe.used else _UNHEARD_PROBE)]
        changed = len(kept) != len(row.probes)
        while len(kept) < row.breaker.settings.half_open_requests:
            self._turn += 1
            kept.append(_Probe(worker=workers[self._turn % len(workers)], given=now))
            changed = True
        row.probes = kept
        return changed


def _seen_by(worker: int, row: _Row, state: BackendState) -> BackendState:
    if state.circuit is not Circuit.HALF_OPEN:
        return state
    held = next((probe for probe in row.probes if probe.worker == worker and not probe.used), None)
    if held is None:
        return replace(state, circuit=Circuit.OPEN)
    return replace(state, probe_until=held.given + _UNUSED_PROBE)


def _decayed(average: float | None, newest: float | None) -> float | None:
    if newest is None:
        return average
    return newest if average is None else average + _WEIGHT * (newest - average)
