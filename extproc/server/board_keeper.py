"""Keeps the board of backend states for all workers of a host: hears them, lets time pass, tells them what changed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from extproc.exchange.snapshot import Snapshot
from extproc.routing.board import Board, Observation, Result
from extproc.routing.health import BackendState
from extproc.server.control import Known, Seen

_TICK: Final = 0.1
"""Seconds between two looks at the clock, and between two reports of what changes all the time, such as speeds."""


class BoardKeeper:
    """One per host. Workers are numbered; ``tell`` must not block."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._board = Board(snapshot.breakers)
        self._tell: dict[int, Callable[[Known], None]] = {}
        self._told: dict[int, dict[str, BackendState]] = {}
        self._stale = False

    def configure(self, snapshot: Snapshot) -> None:
        """Another config is in force."""
        self._board.configure(snapshot.breakers)
        self._report()

    def attach(self, worker: int, tell: Callable[[Known], None]) -> None:
        """A worker's life begins."""
        self._tell[worker] = tell
        self._told[worker] = {}
        self._report()

    def detach(self, worker: int) -> None:
        """A worker's life is over."""
        self._tell.pop(worker, None)
        self._board.forget(worker)
        self._stale = True

    def seen(self, worker: int, seen: Seen) -> None:
        """What a worker has to tell. A circuit that changes is told to all at once, the rest in a while."""
        now, changed = time.time(), False
        for backend in seen.probes:
            self._board.probing(worker, backend)
            # It counts the circuit as open by now, so that a next probe is news to it.
            self._told.get(worker, {}).pop(backend, None)
        for fields in seen.observations:
            observation = Observation(**fields | {"result": Result(fields["result"])})
            changed |= self._board.observe(observation, now=now, chance=random.random())  # noqa: S311 - jitter
        self._board.running(worker, seen.in_flight)
        self._stale = True
        if changed:
            self._report()

    def checked(self, backend: str, problem: str | None) -> None:
        """What a health check says; None is healthy."""
        if self._board.checked(backend, problem, now=time.time()):
            self._report()

    def overview(self) -> dict[str, BackendState]:
        """The states as they are."""
        return self._board.overview()

    def opened(self) -> dict[str, int]:
        """How often each backend's circuit has opened."""
        return dict(self._board.opened)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(_TICK)
            if self._board.tick(tuple(self._tell), now=time.time()) or self._stale:
                self._report()

    def _report(self) -> None:
        self._stale = False
        for worker, tell in list(self._tell.items()):
            states = self._board.states(worker)
            told = self._told[worker]
            news = {backend: asdict(state) for backend, state in states.items() if told.get(backend) != state}
            if news:
                self._told[worker] = states
                tell(Known(states=news))
