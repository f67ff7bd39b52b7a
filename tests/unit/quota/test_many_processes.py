"""A thousand requests at once, from one process and from four, never pass a budget for a hundred."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from extproc.admission.charge import Line, Settled, Settlement, Unit, Window
from extproc.config.limits import Quota
from extproc.quota.open_store import open_store
from extproc.quota.store import StoreUnavailable

LIMIT, PRICE = 1_000, 10


async def spend(url: str, requests: int, name: str, prefix: str) -> int:
    """Requests that cost 10 each; the number that were let through."""
    store = open_store(Quota.model_validate({"url": url, "prefix": prefix, "timeout": "10s"}), lambda: None)
    window = Window(limit=LIMIT, slot=1, first=1, ends=time.time() + 999, until=time.time() + 999)

    async def one(number: int) -> bool:
        line = Line(counter="budget", unit=Unit.MONEY, amount=PRICE, measure=window)
        while True:
            try:
                reserved = await store.reserve(f"{name}{number}", [line], lasts=60.0)
                break
            except StoreUnavailable:  # busy for too long, on a machine that has other things to do
                continue
        if reserved.granted:
            used = Settled(counter="budget", slot=1, held=PRICE, used=PRICE)
            settlement = Settlement(reservation=f"{name}{number}", lines=(used,), closes=True)
            await store.settle(f"{name}{number}", [settlement])
        return reserved.granted

    granted = await asyncio.gather(*map(one, range(requests)))
    await store.close()
    return sum(granted)


@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize("kind", ["embedded", "redis_url", "cluster_url", "sentinel_url"])
def test_a_budget_is_never_passed(kind: str, processes: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Nor is any of it left. Processes share nothing but the store, as hosts do."""
    url = f"sqlite:///{tmp_path}/quota.db" if kind == "embedded" else request.getfixturevalue(kind)
    program = (
        f"import asyncio; from tests.unit.quota.test_many_processes import spend;"
        f"print(asyncio.run(spend({url!r}, {1_000 // processes}, '{{}}', 'proof-{processes}')))"
    )
    root = Path(__file__).resolve().parents[3]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program.format(f"p{number}-")], cwd=root, stdout=subprocess.PIPE, text=True
        )
        for number in range(processes)
    ]
    granted = sum(int(process.communicate(timeout=100)[0]) for process in running)
    assert granted == LIMIT // PRICE
