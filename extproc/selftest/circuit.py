"""Flapping: a backend goes down and comes back while clients call. Does its circuit open, and close again?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from extproc.routing.health import Circuit
from extproc.selftest.client import Ending, Seen
from extproc.selftest.fault import DOWN, HEALTHY
from extproc.selftest.row import Row
from extproc.selftest.scenario import Scenario
from extproc.selftest.stage import Stage
from extproc.selftest.verdict import Flapping, judge_flapping
from extproc.selftest.wall import Path

FLAPPING: Final = "flapping"
_MOST_CALLS: Final = 40
_KNOWN_SECONDS: Final = 0.1
"""For what a worker has seen to be known to all."""
_BACK_SECONDS: Final = 15.0
_WITHIN_SECONDS: Final = 20.0


async def flap(stage: Stage, paths: Iterable[Path]) -> list[Row]:
    """A row for each route whose first backend is reached through the network, one after another."""
    rows = [await _flap(stage, path) for path in paths]
    return [row for row in rows if row is not None]


async def _flap(stage: Stage, path: Path) -> Row | None:
    scenario, seen = await _call(stage, path)
    backend = scenario.victim
    if backend is None or seen.ending is not Ending.ANSWER:
        return None
    enabled = stage.supervisor.snapshot.breakers[backend].enabled
    asked = list(scenario.asked)
    unanswered: list[Seen] = []
    failures = 0
    stage.fakes[backend].down = DOWN
    try:
        for _ in range(_MOST_CALLS if enabled else 1):
            scenario, seen = await _call(stage, path)
            asked += scenario.asked
            failures += backend in scenario.asked
            if seen.ending is not Ending.ANSWER:
                unanswered.append(seen)
            await asyncio.sleep(_KNOWN_SECONDS)
            if _circuit(stage, backend) is not Circuit.CLOSED:
                break
    finally:
        stage.fakes[backend].down = None
    opened = _circuit(stage, backend) is not Circuit.CLOSED
    back = await _back(stage, path, backend)
    flapping = Flapping(
        backend=backend,
        enabled=enabled,
        others=len(path.plan) > 1,
        unanswered=len(unanswered),
        failures=failures,
        opened=opened,
        back_seconds=back,
    )
    return Row(
        route=path.route,
        model=path.model,
        operation=path.ask.operation,
        rule=path.rule,
        fault=FLAPPING,
        on=backend,
        stream=False,
        seen=unanswered[0] if unanswered else seen,
        asked=tuple(asked),
        verdict=judge_flapping(flapping),
    )


async def _back(stage: Stage, path: Path, backend: str) -> float | None:
    """Seconds until the circuit is closed again; None when it is not."""
    began = time.monotonic()
    while time.monotonic() - began < _BACK_SECONDS:
        await _call(stage, path)
        await asyncio.sleep(_KNOWN_SECONDS)
        if _circuit(stage, backend) is Circuit.CLOSED:
            return time.monotonic() - began
    return None


def _circuit(stage: Stage, backend: str) -> Circuit:
    state = stage.supervisor.board.overview().get(backend)
    return Circuit.CLOSED if state is None else state.circuit


async def _call(stage: Stage, path: Path) -> tuple[Scenario, Seen]:
    scenario = Scenario(fault=HEALTHY)
    return scenario, await stage.call(path.ask, path.model, scenario, stream=False, within=_WITHIN_SECONDS)
