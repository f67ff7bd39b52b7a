"""What the ledger says of experiments, on ledgers whose numbers are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.ledger.booking import book
from extproc.ledger.comparison import Estimate
from extproc.ledger.database import Database
from extproc.ledger.experiment_report import Comparison, Setup, compare
from extproc.ledger.question import LedgerUnavailable
from tests.unit.ledger.conftest import NOW, MakeEntry

HOUR = int(NOW) // 3_600
HALF = {"x": Setup(treated_share=0.5, unit="user")}


@pytest.fixture
def booked(database: Database, make_entry: MakeEntry) -> Database:
    """Two users of one variant and three of the other, with two calls each; then what went wrong."""
    control = [
        make_entry(user=user, experiments="x=control", request_ms=ms, output_tokens=10, cost="0.25")
        for user, ms in (("a", 100.0), ("b", 300.0))
        for _ in range(2)
    ]
    treatment = [
        make_entry(user=user, experiments="w=control,x=treatment", request_ms=50.0, output_tokens=None, cost=None)
        for user in ("c", "d", "e")
        for _ in range(2)
    ]
    wrong = [
        make_entry(user="a", experiments="x=control", attempt=2, request_ms=9_000.0, output_tokens=999, cost="9"),
        make_entry(user="b", experiments="x=control", outcome="overloaded", cost=None, output_tokens=None),
        make_entry(user="c", experiments="x=treatment", outcome="client_gone", cost=None, output_tokens=None),
        make_entry(user="c", experiments="x=treatment", attempt=3, outcome="timeout", cost=None),
        make_entry(user="f", experiments=None),
        make_entry(user="g", experiments="xx=control", ended_ms=int((NOW - 7_200) * 1_000)),
    ]
    database.prepare()
    with database.writing() as connection:
        book(connection, [*control, *treatment, *wrong])
    return database


def found(database: Database, name: str = "x", setup: Setup = HALF["x"]) -> Comparison:
    """The only one that was asked for."""
    (one,) = compare(database, {name: setup}, only=name, since=None, until=None)
    return one


def values(comparison: Comparison, variant: str) -> dict[str, float]:
    """What was measured of a variant."""
    estimates: dict[str, Estimate | None] = {one.name: getattr(one, variant) for one in comparison.measures}
    return {name: round(one.value, 6) for name, one in estimates.items() if one is not None}


def test_units_requests_and_how_they_ended_are_counted(booked: Database) -> None:
    """By variant, in shares of its requests."""
    one = found(booked)
    assert (one.units, one.requests) == ({"control": 2, "treatment": 3}, {"control": 6, "treatment": 8})
    assert {name: values(one, "control")[name] for name in ("answered", "failed_over", "failed", "client_gone")} == {
        "answered": round(4 / 6, 6),
        "failed_over": round(1 / 6, 6),
        "failed": round(1 / 6, 6),
        "client_gone": 0.0,
    }
    assert {name: values(one, "treatment")[name] for name in ("answered", "failed_over", "failed", "client_gone")} == {
        "answered": 0.75,
        "failed_over": 0.0,
        "failed": 0.125,
        "client_gone": 0.125,
    }


def test_only_the_variant_s_own_answers_are_credited(booked: Database) -> None:
    """Neither the time nor the tokens nor the cost of the backend that stood in; what is unknown is not zero."""
    control, treatment = (values(found(booked), variant) for variant in ("control", "treatment"))
    assert {name: control[name] for name in ("latency_mean", "output_tokens", "cost USD")} == {
        "latency_mean": 200.0,
        "output_tokens": 10.0,
        "cost USD": 0.25,
    }
    assert control["latency_p50"] == pytest.approx(100, rel=0.01)
    assert control["latency_p95"] == pytest.approx(300, rel=0.01)
    assert treatment["latency_mean"] == 50.0
    assert not {"output_tokens", "cost USD"} & treatment.keys()


def test_a_difference_is_treatment_less_control_with_its_interval(booked: Database) -> None:
    """None where one of the two has nothing."""
    differences = {one.name: one.difference for one in found(booked).measures}
    latency = differences["latency_mean"]
    assert latency is not None
    assert latency.value == -150.0
    # Two users of 100 and 300 ms: a standard error of 100 ms. The treatment's users are all alike.
    assert latency.interval == pytest.approx((-150 - 196.0, -150 + 196.0), abs=0.1)
    assert differences["cost USD"] is None


def test_a_split_that_chance_does_not_make_is_found(database: Database, make_entry: MakeEntry) -> None:
    """By units: 40 users and 10 are no half, whatever the number of their requests."""
    split = {"control": 40, "treatment": 10}
    entries = [
        make_entry(user=f"{variant}-{number}", experiments=f"x={variant}")
        for variant, units in split.items()
        for number in range(units)
        for _ in range(4 if variant == "treatment" else 1)
    ]
    database.prepare()
    with database.writing() as connection:
        book(connection, entries)
    one = found(database)
    assert (one.units, one.requests) == (split, {"control": 40, "treatment": 40})
    assert one.split == pytest.approx(2.21e-5, rel=0.01)
    assert found(database, setup=Setup(treated_share=0.2, unit="user")).split == 1.0
    assert found(database, setup=Setup(treated_share=0.5)).split == 1.0
    assert found(database, setup=Setup()).split is None


def test_a_request_of_nobody_is_a_unit_of_its_own(database: Database, make_entry: MakeEntry) -> None:
    """As it was when it was drawn."""
    database.prepare()
    with database.writing() as connection:
        book(connection, [make_entry(user=user, experiments="x=control") for user in (None, "", None, "a", "a")])
    one = found(database)
    assert (one.units, one.requests) == ({"control": 4, "treatment": 0}, {"control": 5, "treatment": 0})
    assert one.split is not None


def test_experiments_are_told_apart_by_name_and_time(booked: Database) -> None:
    """One whose name begins alike is another."""

    def names(since: int | None = None, until: int | None = None) -> list[str]:
        return [one.name for one in compare(booked, {}, only=None, since=since, until=until)]

    assert names() == ["w", "x", "xx"]
    assert names(since=HOUR) == ["w", "x"]
    assert names(until=HOUR) == ["xx"]
    assert compare(booked, {}, only="nothing", since=None, until=None) == []


def test_a_ledger_without_experiments_has_nothing_to_compare(database: Database) -> None:
    """Before and after its tables are made."""
    assert compare(database, {}, only=None, since=None, until=None) == []
    database.prepare()
    assert compare(database, {}, only=None, since=None, until=None) == []


def test_a_ledger_that_cannot_be_read_is_said_to_be(tmp_path: Path) -> None:
    """With its name."""
    (tmp_path / "usage.db").write_bytes(b"something else entirely, and long enough to be a database's header" * 20)
    database = Database(f"sqlite:///{tmp_path}/usage.db")
    with pytest.raises(LedgerUnavailable, match=r"usage\.db cannot be read"):
        compare(database, {}, only=None, since=None, until=None)
    database.close()
