"""Requests from several processes, all at once or at a pace, never pass a budget; also when one of them dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from extproc.admission.charge import Line, Reserved, Settled, Settlement, Unit, Window
from extproc.config.limits import Quota
from extproc.quota.embedded import EmbeddedStore
from extproc.quota.open_store import open_store
from extproc.quota.store import StoreUnavailable

LIMIT, PRICE = 1_000, 10
ENDS = 9_999_999_999.0
LARGE = Window(limit=60_000, slot=1, first=1, ends=ENDS, until=ENDS)
LASTS = 60.0
ROOT = Path(__file__).resolve().parents[3]


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
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program.format(f"p{number}-")], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for number in range(processes)
    ]
    granted = sum(int(process.communicate(timeout=100)[0]) for process in running)
    assert granted == LIMIT // PRICE


async def keep_pace(path: str, name: str) -> None:
    """Requests that cost 10 each, a few under way, until one is refused. Of each that is granted, how: by a letter."""
    store = EmbeddedStore(Path(path), time.time)
    line = Line(counter="budget", unit=Unit.TOKENS, amount=PRICE, measure=LARGE)
    settled = Settled(counter="budget", slot=1, held=PRICE, used=PRICE)
    booked: list[asyncio.Future[None]] = []
    for turn in count():
        granted = []
        for number in range(5):
            identity = f"{name}-{turn}-{number}"
            here = store.reserve_here(identity, [line], lasts=LASTS)
            if not (here or await patiently(store, identity, line)).granted:
                break
            os.write(1, b"t" if here is None else b"h")
            granted.append(Settlement(reservation=identity, lines=(settled,), closes=True))
        await asyncio.sleep(0.002)
        elsewhere = [one for one in granted if not store.settle_here(one)]
        booked += [asyncio.ensure_future(store.settle(one.reservation, [one])) for one in elsewhere]
        if len(granted) < 5:
            break
    await asyncio.gather(*booked)
    await store.close()


async def patiently(store: EmbeddedStore, identity: str, line: Line) -> Reserved:
    """A reservation, however long others have the file."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            return await store.reserve(identity, [line], lasts=LASTS)


def test_a_process_that_is_killed_takes_nothing_along(tmp_path: Path) -> None:
    """What it has in shares nobody is granted before it has expired. Then it is free."""
    path = tmp_path / "quota.db"
    program = (
        "import asyncio, os; from tests.unit.quota.test_many_processes import keep_pace; os.write(1, b'-'); input()"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", f"{program}; asyncio.run(keep_pace({str(path)!r}, 'p{number}'))"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in range(3)
    ]
    assert [process.stdout.read(1) for process in running if process.stdout is not None] == [b"-"] * 3
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    victim = running.pop()
    assert victim.stdout is not None
    killed = victim.stdout.read(300)
    victim.kill()
    killed += victim.communicate(timeout=60)[0]
    living = b"".join([process.communicate(timeout=60)[0] for process in running])
    assert [process.returncode for process in running] == [0, 0]
    assert b"h" in killed
    assert b"h" in living
    assert len(killed + living) * PRICE <= LARGE.limit
    ((shares, used, held),) = rows(path)
    assert shares == 1
    assert LARGE.limit - PRICE < used + held <= LARGE.limit
    asyncio.run(_check_expiry(path))
    ((shares, used, held),) = rows(path)
    assert (shares, used + held) == (0, LARGE.limit)
    assert len(living) * PRICE <= used <= len(killed + living) * PRICE


async def _check_expiry(path: Path) -> None:
    """All that is not used can be had."""
    store = EmbeddedStore(path, lambda: time.time() + LASTS + 1)
    await store.tend()
    ((_, used, held),) = rows(path)
    assert held == 0
    rest = Line(counter="budget", unit=Unit.TOKENS, amount=LARGE.limit - used, measure=LARGE)
    assert (await store.reserve("rest", [rest], lasts=LASTS)).granted
    await store.close()


def rows(path: Path) -> list[tuple[int, int, int]]:
    """Shares, and what is used and held of the only counter."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT (SELECT count(*) FROM share), used, held FROM counted").fetchall()
