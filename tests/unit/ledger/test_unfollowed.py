"""An exchange whose last attempt moved on ends all the same, and those that were followed do not end twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from extproc.ledger.database import Database
from extproc.ledger.entry import BEGUN
from extproc.ledger.question import read_question
from extproc.ledger.report import report
from extproc.ledger.schema import EXCHANGES
from extproc.ledger.spool import Spool
from extproc.ledger.unfollowed import PATIENCE_MS
from extproc.ledger.writer import Kept, Writer
from tests.unit.ledger.conftest import NOW, MakeEntry

PATIENCE = PATIENCE_MS / 1_000


class Clock:
    """Turned by the test."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The writer's."""
    return Clock()


@pytest.fixture
def writer(spool_directory: Path, database: Database, clock: Clock) -> Writer:
    """One that is told to catch up."""
    return restarted(spool_directory, database, clock)


def restarted(spool_directory: Path, database: Database, clock: Clock) -> Writer:
    """One that remembers nothing."""
    return Writer(spool_directory, database, Kept(records=90, summaries=730), now=clock)


def put(directory: Path, *entries: Mapping[str, Any]) -> None:
    """As a worker that has ended."""
    spool = Spool(directory, limit=1 << 30)
    assert all(spool.write(entry) for entry in entries)
    spool.close()


def begun(entry: Mapping[str, Any], attempt: int) -> dict[str, Any]:
    """Another attempt of the same exchange."""
    return {"kind": BEGUN, "exchange": entry["exchange"], "attempt": attempt, "ended_ms": entry["ended_ms"]}


def exchanges(database: Database) -> list[tuple[int, str, str]]:
    """How many attempts each had, and how it ended and where."""
    statement = select(EXCHANGES.c.attempts, EXCHANGES.c.outcome, EXCHANGES.c.backend).order_by(EXCHANGES.c.exchange)
    with database.reading() as connection:
        return [(row.attempts, row.outcome, row.backend) for row in connection.execute(statement)]


def requests(database: Database) -> tuple[int, int, str | None]:
    """What a report counts: requests, attempts and money."""
    (row,) = report(database, read_question("month", None, None, now=NOW))
    return row["requests"], row["attempts"], row["cost"]


def test_an_attempt_that_nobody_followed_has_ended_its_exchange(
    writer: Writer, database: Database, spool_directory: Path, clock: Clock, make_entry: MakeEntry
) -> None:
    """After a while, once, with its own tokens and money; its segment goes when that is done."""
    put(spool_directory, make_entry(outcome="reset", final=False, status=None, attempt=2, cost="0.1"))
    assert writer.catch_up()
    assert exchanges(database) == []
    assert requests(database) == (0, 1, "0.1")
    clock.now += PATIENCE + 1
    assert writer.catch_up()
    assert writer.catch_up()
    assert exchanges(database) == [(2, "reset", "openai")]
    assert requests(database) == (1, 1, "0.1")
    assert list(spool_directory.glob("*.jsonl")) == []


def test_a_restart_forgets_no_open_exchange(
    writer: Writer, database: Database, spool_directory: Path, clock: Clock, make_entry: MakeEntry
) -> None:
    """The spool still has it, and what is booked twice counts once."""
    put(spool_directory, make_entry(outcome="reset", final=False), make_entry())
    assert writer.catch_up()
    clock.now += PATIENCE + 1
    assert restarted(spool_directory, database, clock).catch_up()
    assert requests(database) == (2, 2, "0.0009")


@pytest.mark.parametrize("begins_first", [True, False])
def test_an_attempt_that_takes_its_time_is_waited_for(
    writer: Writer,
    database: Database,
    spool_directory: Path,
    clock: Clock,
    make_entry: MakeEntry,
    *,
    begins_first: bool,
) -> None:
    """However long; whichever worker's segment is read first."""
    failed = make_entry(outcome="timeout", final=False, backend="first")
    second = begun(failed, 2)
    for entry in (second, failed) if begins_first else (failed, second):
        put(spool_directory, entry)
    assert writer.catch_up()
    for _ in range(4):
        clock.now += PATIENCE
        assert writer.catch_up()
    assert exchanges(database) == []
    assert list(spool_directory.glob("*.jsonl")) == []
    put(spool_directory, make_entry(exchange=failed["exchange"], attempt=2, ended_ms=int(clock.now * 1_000)))
    assert writer.catch_up()
    assert exchanges(database) == [(2, "answered", "openai")]
    assert requests(database) == (1, 2, "0.0009")


def test_an_answer_that_is_read_first_is_the_end(
    writer: Writer, database: Database, spool_directory: Path, clock: Clock, make_entry: MakeEntry
) -> None:
    """What failed before it does not end it again."""
    failed = make_entry(outcome="timeout", final=False, backend="first")
    put(spool_directory, make_entry(exchange=failed["exchange"], attempt=2))
    put(spool_directory, failed, begun(failed, 2))
    assert writer.catch_up()
    clock.now += PATIENCE + 1
    assert writer.catch_up()
    assert exchanges(database) == [(2, "answered", "openai")]
    assert requests(database) == (1, 2, "0.0009")


def test_the_last_of_those_that_moved_on_has_ended_it(
    writer: Writer, database: Database, spool_directory: Path, clock: Clock, make_entry: MakeEntry
) -> None:
    """The client waited for two backends and left before the third was asked."""
    first = make_entry(outcome="timeout", final=False, backend="first")
    second = make_entry(exchange=first["exchange"], outcome="reset", final=False, backend="second", attempt=2)
    put(spool_directory, begun(first, 2), second)
    put(spool_directory, first)
    assert writer.catch_up()
    clock.now += PATIENCE + 1
    assert writer.catch_up()
    assert exchanges(database) == [(2, "reset", "second")]


def test_an_open_exchange_waits_for_the_database(
    writer: Writer,
    database: Database,
    spool_directory: Path,
    clock: Clock,
    make_entry: MakeEntry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not forgotten when it cannot be written."""
    put(spool_directory, make_entry(outcome="reset", final=False))
    assert writer.catch_up()
    clock.now += PATIENCE + 1
    with monkeypatch.context() as patch:
        patch.setattr(database, "writing", _away)
        assert not writer.catch_up()
    assert writer.catch_up()
    assert exchanges(database) == [(1, "reset", "openai")]


def _away() -> None:
    raise OSError("the disk is gone")


def test_a_record_that_no_database_takes_stops_nobody(
    writer: Writer, database: Database, spool_directory: Path, clock: Clock, make_entry: MakeEntry
) -> None:
    """Not as an open exchange either."""
    broken = make_entry(outcome="reset", final=False)
    del broken["attempt"]
    put(spool_directory, broken, make_entry())
    assert writer.catch_up()
    clock.now += PATIENCE + 1
    assert writer.catch_up()
    assert writer.catch_up()
    assert requests(database) == (1, 1, "0.00045")
    assert list(spool_directory.glob("*.jsonl")) == []
