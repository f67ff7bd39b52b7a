"""A ledger that an earlier version wrote is reported at once, and brought up to date by whoever writes to it first."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, delete, text, update

from extproc.ledger.booking import book
from extproc.ledger.database import Database, LedgerTooNew
from extproc.ledger.migrations import MIGRATIONS
from extproc.ledger.periods import DAY
from extproc.ledger.question import read_question
from extproc.ledger.report import report
from extproc.ledger.schema import DAYS, HOURS, MONTHS, VERSION
from tests.unit.ledger.conftest import NOW, MakeEntry

_DAY_MS = 86_400_000


def usage(database: Database, by: str) -> list[dict[str, Any]]:
    """Of all times."""
    return report(database, read_question(by, None, None, now=NOW))


@pytest.fixture
def earlier(database: Database, make_entry: MakeEntry) -> Database:
    """As version 1 left it: no months, and of its oldest day, which had begun to be too old, some hours alone."""
    database.prepare()
    with database.writing() as connection:
        book(
            connection,
            [
                make_entry(ended_ms=int(NOW * 1_000) - days * _DAY_MS, user=user, cost="0.1")
                for days in range(0, 70, 7)
                for user in ("ann", "bob")
            ],
        )
        MONTHS.drop(connection)
        connection.execute(update(VERSION).values(version=1))
        oldest = min(connection.execute(HOURS.select()).mappings(), key=lambda row: row["hour"])["hour"]
        connection.execute(delete(DAYS).where(DAYS.c.hour == DAY.begin(oldest)))
    return database


@pytest.mark.parametrize("by", ["user", "user,month", "key", "month", "day"])
def test_an_earlier_ledger_tells_the_same_when_it_is_up_to_date(
    earlier: Database, make_entry: MakeEntry, by: str
) -> None:
    """Also of what comes after, in a month that has been summed up already."""
    before = usage(earlier, by) if "user" in by else usage(earlier, f"user,{by}")
    earlier.prepare()
    after = usage(earlier, by)
    assert sum(row["requests"] for row in after) == sum(row["requests"] for row in before) == 20
    if "user" in by:
        assert after == before
    with earlier.writing() as connection:
        book(connection, [make_entry(user="ann")])
    assert sum(row["requests"] for row in usage(earlier, by)) == 21
    assert sum(row["requests"] for row in usage(earlier, f"{by},hour")) == 21


def test_an_empty_ledger_is_brought_up_to_date(database: Database) -> None:
    """One whose gateway never served anybody."""
    database.prepare()
    with database.writing() as connection:
        MONTHS.drop(connection)
        connection.execute(update(VERSION).values(version=1))
    database.prepare()
    assert usage(database, "user") == []


def _region(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE exchanges ADD COLUMN region TEXT"))


def _fill_region(connection: Connection) -> None:
    connection.execute(text("UPDATE exchanges SET region = 'eu'"))
    connection.execute(text("ALTER TABLE hours ADD COLUMN region TEXT"))


def test_each_step_is_taken_once_and_in_order(database: Database) -> None:
    """A newer ledger is not written to."""
    database.prepare()
    database.prepare((*MIGRATIONS, _region))
    database.prepare((*MIGRATIONS, _region, _fill_region))
    database.prepare((*MIGRATIONS, _region, _fill_region))
    with database.reading() as connection:
        connection.execute(text("SELECT exchanges.region, hours.region FROM exchanges, hours"))
    newer = len(MIGRATIONS) + 3
    with pytest.raises(LedgerTooNew, match=f"version {newer}"):
        database.prepare()


def test_who_is_writing_stops_when_a_later_version_takes_over(database: Database, make_entry: MakeEntry) -> None:
    """Else what it books would be missing in tables that it does not know of."""
    database.prepare()
    with database.writing() as connection:
        book(connection, [make_entry()])
        connection.execute(update(VERSION).values(version=len(MIGRATIONS) + 2))
    with pytest.raises(LedgerTooNew), database.writing():
        pass
