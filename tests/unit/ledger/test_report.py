"""What people ask the ledger, and what it answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.ledger.booking import book
from extproc.ledger.database import Database
from extproc.ledger.question import BadQuestion, LedgerUnavailable, Question, read_question
from extproc.ledger.report import report
from tests.unit.ledger.conftest import NOW, MakeEntry

HOUR = int(NOW) // 3_600


@pytest.fixture
def booked(database: Database, make_entry: MakeEntry) -> Database:
    """Four requests of two keys on the days around a month's end."""
    database.prepare()
    moments = ("2026-08-31T23:59:59.999", "2026-09-01T00:00:00", "2026-09-01T13:00:00", "2026-09-02T00:00:00")
    entries = [
        make_entry(ended_ms=_ms(moment), key=key, model=model)
        for moment, key, model in zip(moments, ("ci", "ci", "app", "app"), ("x", "y", "y", "y"), strict=True)
    ]
    with database.writing() as connection:
        book(connection, entries)
    return database


def _ms(moment: str) -> int:
    from datetime import UTC, datetime  # noqa: PLC0415 - of this function alone

    return int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() * 1_000)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        pytest.param("key", [("app", 2), ("ci", 2)], id="name"),
        pytest.param("month", [("2026-08", 1), ("2026-09", 3)], id="month"),
        pytest.param("day", [("2026-08-31", 1), ("2026-09-01", 2), ("2026-09-02", 1)], id="day"),
        pytest.param("user,month", [(None, "2026-08", 1), (None, "2026-09", 3)], id="month-from-hours"),
        pytest.param(
            "month,day",
            [("2026-08", "2026-08-31", 1), ("2026-09", "2026-09-01", 2), ("2026-09", "2026-09-02", 1)],
            id="month-and-day",
        ),
        pytest.param("key,month", [("app", "2026-09", 2), ("ci", "2026-08", 1), ("ci", "2026-09", 1)], id="two"),
        pytest.param("requested-model", [("gpt-4", 4)], id="dashes"),
        pytest.param("rule", [(None, 4)], id="unknown"),
    ],
)
def test_requests_are_told_apart(booked: Database, by: str, expected: list[tuple[object, ...]]) -> None:
    """By any combination, in its order."""
    question = read_question(by, None, None, now=NOW)
    rows = report(booked, question)
    assert [(*(row[name] for name in question.by), row["requests"]) for row in rows] == expected


@pytest.mark.parametrize(
    ("since", "until", "requests"),
    [
        pytest.param("2026-09-01", None, 3, id="since-a-day"),
        pytest.param(None, "2026-09-01", 1, id="until-a-day"),
        pytest.param("2026-09-01", "2026-09-02", 2, id="a-day"),
        pytest.param("2026-09-01T14:00+01:00", None, 2, id="zone"),
        pytest.param("30d", None, 4, id="ago"),
        pytest.param("1h", None, 0, id="hours-ago"),
    ],
)
def test_a_time_is_cut_out(booked: Database, since: str | None, until: str | None, requests: int) -> None:
    """The beginning belongs to it, the end does not."""
    rows = report(booked, read_question("key", since, until, now=NOW))
    assert sum(row["requests"] for row in rows) == requests


@pytest.mark.parametrize("since", ["2026-08-31T00:00", "2026-08-31T01:00"])
@pytest.mark.parametrize("by", ["key", "key,user", "key,hour"])
def test_days_and_hours_tell_the_same(booked: Database, by: str, since: str) -> None:
    """Whichever table can answer a question."""
    rows = report(booked, read_question(by, since, None, now=NOW))
    assert sum(row["requests"] for row in rows) == 4
    assert sum(row["input_tokens"] for row in rows) == 400


def test_a_question_may_be_about_some_rows_only(booked: Database) -> None:
    """As a provider's invoice is."""
    (row,) = report(booked, Question(by=("model",), where={"key": "app"}))
    assert (row["model"], row["requests"]) == ("y", 2)


@pytest.mark.parametrize(
    ("by", "since", "said"),
    [
        pytest.param("modell", None, "'modell': there are key, tenant", id="name"),
        pytest.param("currency", None, "'currency'", id="always-there"),
        pytest.param("day,", None, "''", id="empty"),
        pytest.param(None, "yesterday", "'yesterday' is no time", id="word"),
        pytest.param(None, "2026-13-01", "is no time", id="month-13"),
        pytest.param(None, "99999d", None, id="before-everything"),
    ],
)
def test_a_bad_question_says_what_there_is(by: str | None, since: str | None, said: str | None) -> None:
    """Rather than an empty answer."""
    if said is None:
        assert read_question(by, since, None, now=NOW).since == HOUR - HOUR % 24 - 99_999 * 24
        return
    with pytest.raises(BadQuestion, match=said):
        read_question(by, since, None, now=NOW)


def test_a_ledger_without_a_record_has_an_empty_report(database: Database, tmp_path: Path) -> None:
    """And asking makes no file."""
    assert report(database, Question()) == []
    assert not (tmp_path / "usage.db").exists()


def test_a_ledger_that_cannot_be_read_is_said_to_be(tmp_path: Path) -> None:
    """With its name."""
    (tmp_path / "usage.db").write_bytes(b"something else entirely, and long enough to be a database's header" * 20)
    database = Database(f"sqlite:///{tmp_path}/usage.db")
    with pytest.raises(LedgerUnavailable, match=r"usage\.db cannot be read: file is not a database"):
        report(database, Question())
    database.close()
