"""What shares a transaction: all of it is done, whatever becomes of one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc.quota.store import StoreUnavailable
from extproc.quota.transaction import SharedTransaction


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """With one table."""
    database = sqlite3.connect(tmp_path / "t.db", timeout=0, isolation_level=None)
    database.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    yield database
    database.close()


def _nothing() -> None:
    """To do."""


def shared_by(database: sqlite3.Connection, path: Path) -> SharedTransaction:
    """One whose users write as they go."""
    return SharedTransaction(database, path, begin=_nothing, end=_nothing, ended=lambda *, done: None)  # noqa: ARG005 - by its name


def rows(database: sqlite3.Connection) -> list[int]:
    """What is in it."""
    return [n for (n,) in database.execute("SELECT n FROM t ORDER BY n")]


async def test_what_is_asked_for_at_once_shares_one(database: sqlite3.Connection, tmp_path: Path) -> None:
    """The first of a turn does not wait, and takes along who is unhurried; all others have one beginning and end."""
    said: list[str] = []
    database.set_trace_callback(said.append)
    shared = shared_by(database, tmp_path)

    def insert(number: int) -> int:
        database.execute("INSERT INTO t VALUES (?)", (number,))
        return number

    unhurried = shared.do(lambda: insert(1), within=60.0)
    first = shared.do(lambda: insert(2))
    assert (unhurried.done(), first.done()) == (True, True)
    others = [shared.do(lambda number=number: insert(number)) for number in (3, 4, 5)]  # type: ignore[misc]
    assert await asyncio.gather(unhurried, first, *others) == [1, 2, 3, 4, 5]
    assert [len(each.split("INSERT")) - 1 for each in " ".join(said).split("BEGIN IMMEDIATE")] == [0, 2, 3]
    assert said[-1] == "COMMIT"
    assert rows(database) == [1, 2, 3, 4, 5]


async def test_who_is_unhurried_does_not_wait_for_ever(database: sqlite3.Connection, tmp_path: Path) -> None:
    """Nobody else comes."""
    shared = shared_by(database, tmp_path)
    await asyncio.wait_for(shared.do(lambda: database.execute("INSERT INTO t VALUES (1)"), within=0.001), 10)
    assert rows(database) == [1]


async def test_one_that_fails_takes_nobody_along(database: sqlite3.Connection, tmp_path: Path) -> None:
    """Nor does it leave half of itself behind."""
    shared = shared_by(database, tmp_path)

    def half() -> None:
        database.execute("INSERT INTO t VALUES (2)")
        database.execute("INSERT INTO t VALUES (?)", (1 << 70,))

    answers = await asyncio.gather(
        shared.do(lambda: database.execute("INSERT INTO t VALUES (1)")),
        shared.do(half),
        shared.do(lambda: database.execute("INSERT INTO absent VALUES (1)")),
        shared.do(lambda: database.execute("INSERT INTO t VALUES (3)")),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [sqlite3.Cursor, OverflowError, StoreUnavailable, sqlite3.Cursor]
    assert rows(database) == [1, 3]


async def test_what_is_cancelled_before_it_begins_is_not_done(database: sqlite3.Connection, tmp_path: Path) -> None:
    """The request went away."""
    shared = shared_by(database, tmp_path)
    shared.do(lambda: database.execute("INSERT INTO t VALUES (1)"), within=60.0).cancel()
    await shared.do(lambda: database.execute("INSERT INTO t VALUES (2)"))
    assert rows(database) == [2]


async def test_it_waits_for_another_process_and_then_gives_up(database: sqlite3.Connection, tmp_path: Path) -> None:
    """While the event loop goes on."""
    other = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    shared = shared_by(database, tmp_path)
    with pytest.raises(StoreUnavailable, match="locked"):
        await shared.do(lambda: None)
    waiting = shared.do(lambda: database.execute("INSERT INTO t VALUES (1)"))
    await asyncio.sleep(0.01)
    other.execute("COMMIT")
    await waiting
    assert rows(database) == [1]
    other.close()
