"""Days and months are what their hours come to: booked, deleted, and whichever a report reads."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from sqlalchemy import Table, select

from extproc.ledger.booking import book
from extproc.ledger.columns import COUNTS, DIMENSIONS
from extproc.ledger.database import Database
from extproc.ledger.periods import DAY, HOUR, MONTH, Period, moment
from extproc.ledger.question import Question
from extproc.ledger.report import report
from extproc.ledger.schema import DAYS, HOURS, MONTHS
from extproc.ledger.sums import forget_hours
from tests.unit.ledger.conftest import NOW, MakeEntry

NOW_HOUR = int(NOW) // 3_600
SPAN = 24 * 75


@pytest.fixture
def booked(database: Database, make_entry: MakeEntry) -> Database:
    """Ten weeks of three users and two models, in batches that know nothing of each other."""
    chance = random.Random(7)
    database.prepare()
    entries = [
        make_entry(
            ended_ms=(NOW_HOUR - chance.randrange(SPAN)) * 3_600_000,
            user=chance.choice(["ann", "bob", None]),
            model=chance.choice(["x", "y"]),
            cost=chance.choice([None, "0.25", "0.000000000000000001", "3.999999999999999999"]),
        )
        for _ in range(240)
    ]
    for start in range(0, len(entries), 40):
        with database.writing() as connection:
            book(connection, [dict(entry, currency=entry["cost"] and "USD") for entry in entries[start : start + 40]])
    return database


def sums(database: Database, table: Table, period: Period) -> dict[tuple[Any, ...], list[int]]:
    """What a table says of each period, from rows of its own or finer ones."""
    names = [name for name in DIMENSIONS if name in table.c]
    if period is DAY:
        names = [name for name in names if name != "user"]
    found: dict[tuple[Any, ...], list[int]] = {}
    with database.reading() as connection:
        for row in connection.execute(select(table)).mappings():
            identity = (period.begin(row["hour"]), *(row[name] for name in names))
            more = [row[name] for name in COUNTS]
            found[identity] = [
                one + other for one, other in zip(found.get(identity, [0] * len(more)), more, strict=True)
            ]
    return found


@pytest.mark.parametrize("cut", [None, NOW_HOUR - SPAN // 2, MONTH.begin(NOW_HOUR), DAY.begin(NOW_HOUR - 700) + 13])
def test_coarser_rows_are_the_sum_of_their_hours(booked: Database, cut: int | None) -> None:
    """To the last digit, no row is left empty, and nothing stays that is too old."""
    if cut is not None:
        with booked.writing() as connection:
            assert forget_hours(connection, cut) > 0
            assert forget_hours(connection, cut) == 0
    for table, period in ((DAYS, DAY), (MONTHS, MONTH)):
        assert sums(booked, table, period) == sums(booked, HOURS, period)
    kept = [hour for hour, *_ in sums(booked, HOURS, HOUR)]
    assert cut is None or min(kept) >= cut


def test_a_late_record_of_a_month_that_has_been_cut_is_counted(booked: Database, make_entry: MakeEntry) -> None:
    """And goes with its hour."""
    cut = MONTH.begin(NOW_HOUR) + 100
    with booked.writing() as connection:
        forget_hours(connection, cut)
        book(connection, [make_entry(ended_ms=(cut + 1) * 3_600_000, user="late")])
    assert sums(booked, MONTHS, MONTH) == sums(booked, HOURS, MONTH)
    with booked.writing() as connection:
        forget_hours(connection, cut + 2)
    assert sums(booked, MONTHS, MONTH) == sums(booked, HOURS, MONTH)
    assert "late" not in {identity[3] for identity in sums(booked, MONTHS, MONTH)}


@pytest.mark.parametrize("by", ["user", "user,month", "model", "model,month", "model,day", "user,day", "month,hour"])
def test_a_report_of_any_stretch_of_time_is_what_its_hours_say(booked: Database, by: str) -> None:
    """Wherever it begins and ends: in the middle of a day or a month, at its first hour or its last, or nowhere."""
    month = MONTH.begin(NOW_HOUR)
    moments = [None, NOW_HOUR - SPAN, month - 25, month - 1, month, month + 1, month + 24, month + 30, NOW_HOUR]
    names = tuple(by.split(","))
    for since, until in itertools.product(moments, moments):
        whole = report(
            booked, Question(by=(*names, "hour") if "hour" not in names else names, since=since, until=until)
        )
        told = report(booked, Question(by=names, since=since, until=until))
        assert _without_hours(whole, names) == _without_hours(told, names)
        assert len({tuple(row[name] for name in (*names, "currency")) for row in told}) == len(told)


def test_what_a_report_adds_up_may_stand_in_a_single_hour(booked: Database, make_entry: MakeEntry) -> None:
    """Of what is 0 in all hours, nothing is added up."""
    hour = DAY.begin(NOW_HOUR - 200) + 13
    with booked.writing() as connection:
        book(connection, [make_entry(ended_ms=hour * 3_600_000, user="ann", audio_input_tokens=7)])
    for by in (("user", "day"), ("hour",), ("user",), ("model",)):
        for since, until, found in ((hour, hour + 1, 7), (None, None, 7), (None, hour, 0), (hour + 1, None, 0)):
            rows = report(booked, Question(by=by, since=since, until=until))
            assert sum(row["audio_input_tokens"] for row in rows) == found


def _without_hours(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[tuple[Any, ...], tuple[int, int]]:
    found: dict[tuple[Any, ...], tuple[int, int]] = {}
    for row in rows:
        identity = tuple(row[name] for name in names)
        requests, tokens = found.get(identity, (0, 0))
        found[identity] = requests + row["requests"], tokens + row["input_tokens"]
    return found


@pytest.mark.parametrize(
    ("period", "hour", "begin", "after"),
    [
        pytest.param(DAY, "2026-03-29T14", "2026-03-29T00", "2026-03-30T00", id="day"),
        pytest.param(MONTH, "2024-02-29T23", "2024-02-01T00", "2024-03-01T00", id="leap"),
        pytest.param(MONTH, "2026-02-01T00", "2026-02-01T00", "2026-03-01T00", id="shortest"),
        pytest.param(MONTH, "2026-12-31T23", "2026-12-01T00", "2027-01-01T00", id="year"),
        pytest.param(HOUR, "2026-12-31T23", "2026-12-31T23", "2027-01-01T00", id="hour"),
    ],
)
def test_a_period_knows_where_it_begins_and_ends(period: Period, hour: str, begin: str, after: str) -> None:
    """In UTC."""

    def spelled(number: int) -> str:
        return f"{moment(number):%Y-%m-%dT%H}"

    number = next(number for number in range(470_000, 500_000) if spelled(number) == hour)
    assert (spelled(period.begin(number)), spelled(period.after(number))) == (begin, after)
    assert spelled(period.next_begin(number)) == (begin if hour == begin else after)
