"""What only the embedded store does: it remembers rows, and forgets what is over a part at a time."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest

from extproc.admission.charge import Line, Rate, Settled, Settlement, Unit, Window
from extproc.quota.counters import LARGEST, SCHEMA, Counters
from extproc.quota.embedded import EmbeddedStore

NOW = 1_800_000_000.0
LOOKS = count()
WINDOW = Window(limit=100, slot=5, first=5, ends=NOW + 9, until=NOW + 9)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    """Empty, and its clock stands still."""
    opened = EmbeddedStore(tmp_path / "quota.db", lambda: NOW)
    yield opened
    await opened.close()


def line(amount: int, window: Window = WINDOW) -> Line:
    """Of a budget in tokens."""
    return Line("b", Unit.TOKENS, amount, window)


def booking(name: str, *, used: int, held: int = 0, slot: int = 5) -> Settlement:
    """Of that budget."""
    return Settlement(name, (Settled("b", slot, held, used),), closes=True)


async def free(store: EmbeddedStore, window: Window = WINDOW) -> int:
    """What is left of it."""
    return (await store.reserve(f"look{next(LOOKS)}", [line(0, window)], lasts=0.0)).levels[0].free


def statements(store: EmbeddedStore) -> list[str]:
    """What it asks its database from here on: a request's share of each transaction."""
    said: list[str] = []
    store._database.set_trace_callback(said.append)  # noqa: SLF001 - what is asked is what is tested
    return said


async def test_many_requests_in_one_transaction_write_a_counter_once(store: EmbeddedStore) -> None:
    """And read it once; each is told what the ones before it have left. The first has a transaction of its own."""
    rate = Line("r", Unit.REQUESTS, 1, Rate(capacity=10, per_second=1.0))
    said = statements(store)
    asked = [store.reserve(f"r{number}", [line(10), rate], lasts=9.0) for number in range(8)]
    answers = await asyncio.gather(*asked)
    assert [reserved.levels[0].free for reserved in answers] == [90, 80, 70, 60, 50, 40, 30, 20]
    assert [reserved.levels[1].free for reserved in answers] == [9, 8, 7, 6, 5, 4, 3, 2]
    assert len([one for one in said if "FROM wanted" in one]) == 1
    assert [one for one in said if "BEGIN" in one] == ["BEGIN IMMEDIATE"] * 2
    assert len([one for one in said if "INTO counted" in one]) == len(("b", "r"))
    assert len([one for one in said if "UPDATE counted" in one]) == len(("b", "r"))


async def test_a_counter_is_read_again_only_after_another_process_has_written(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    """Which is then seen."""
    await store.reserve("a", [line(10)], lasts=9.0)
    said = statements(store)
    assert await free(store) == 90
    assert not [one for one in said if "FROM wanted" in one]
    other = EmbeddedStore(tmp_path / "quota.db", lambda: NOW)
    await other.reserve("b", [line(25)], lasts=9.0)
    await other.close()
    assert await free(store) == 65
    assert len([one for one in said if "FROM wanted" in one]) == 1


async def test_a_batch_that_failed_is_not_taken_for_booked(store: EmbeddedStore) -> None:
    """Nor is anything of it there; who shared its transaction has what was asked for."""
    too_much = booking("a", used=1, held=1 << 70)
    reserved = asyncio.create_task(store.reserve("a", [line(10)], lasts=9.0))
    await asyncio.sleep(0)
    answers = await asyncio.gather(reserved, store.settle("same", [too_much]), return_exceptions=True)
    assert isinstance(answers[1], OverflowError)
    assert await free(store) == 90
    await store.settle("same", [booking("a", used=4, held=10)])
    assert await free(store) == 96


async def test_a_sum_that_no_column_holds_stays_at_the_largest(store: EmbeddedStore) -> None:
    """Whatever servers report, what comes after is still booked, and the budget is used up."""
    await store.reserve("a", [line(1)], lasts=9.0)
    for number in range(3):
        await store.settle(f"batch{number}", [booking("a", used=1 << 62, held=number == 0)])
    assert await free(store) == WINDOW.limit - LARGEST


async def test_the_parts_of_a_rolling_window_are_summed_within_a_transaction(store: EmbeddedStore) -> None:
    """Also what was booked in an older part a moment before, by somebody who shares it."""
    rolling = Window(limit=100, slot=5, first=2, ends=NOW + 9, until=NOW + 9)
    older = Window(limit=100, slot=3, first=0, ends=NOW + 9, until=NOW + 9)
    await store.reserve("a", [line(30, older)], lasts=9.0)
    settled = store.settle("s", [booking("a", used=7, held=30, slot=3)])
    looked = store.reserve("b", [line(10, rolling)], lasts=9.0)
    _, reserved = await asyncio.gather(settled, looked)
    assert reserved.levels[0].free == 100 - 7 - 10


async def test_two_lines_of_one_counter_are_both_taken(store: EmbeddedStore) -> None:
    """Each was judged by itself."""
    await store.reserve("a", [line(10), line(20)], lasts=9.0)
    assert await free(store) == 70


def test_what_is_over_is_forgotten_a_part_at_a_time(tmp_path: Path) -> None:
    """Of a hundred thousand counters, a call looks at a few."""
    with contextlib.closing(sqlite3.connect(tmp_path / "q.db", isolation_level=None)) as database:
        database.execute(SCHEMA)
        ends = [NOW - 1, None, NOW + 1]
        rows = [(f"c{number:02}", slot, ends[number % 3]) for number in range(12) for slot in (-1, 0)]
        database.executemany("INSERT INTO counted VALUES (?, ?, 0, 0, NULL, ?)", rows)
        counters = Counters(database)
        left = []
        for _ in range(8):
            counters.sweep(NOW, 4)
            left.append(database.execute("SELECT count(*) FROM counted").fetchone()[0])
        assert left == [22, 20, 20, 18, 16, 16, 16, 16]
        assert not database.execute("SELECT 1 FROM counted WHERE until < ?", (NOW,)).fetchall()
