"""``kortex usage``: reports and reconciliations, as people and programs read them."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from extproc.cli.main import app
from extproc.ledger.booking import book
from extproc.ledger.columns import TOKENS
from extproc.ledger.database import Database

NOON = int(datetime(2026, 9, 27, 12, tzinfo=UTC).timestamp() * 1_000)


def entry(number: int, **changes: Any) -> dict[str, Any]:
    """An answered attempt."""
    known = {
        "kind": "attempt",
        "exchange": f"{number:032x}",
        "attempt": 1,
        "final": True,
        "ended_ms": NOON,
        "key": "ci",
        "model": "gpt-4o",
        "served_model": "gpt-4o-2024-08-06",
        "provider": "openai",
        "outcome": "answered",
        "input_tokens": 1_000,
        "usage_source": "reported",
        "cost": "0.25",
        "currency": "USD",
        "duration_ms": 1.0,
        "request_ms": 1.0,
    }
    return dict.fromkeys(TOKENS, None) | known | changes


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """The URL of one with three requests."""
    url = f"sqlite:///{tmp_path}/usage.db"
    database = Database(url)
    database.prepare()
    with database.writing() as connection:
        book(connection, [entry(1), entry(2, key="app"), entry(3, provider="mistral", model="m", served_model="m")])
    database.close()
    return url


def run(*arguments: str | Path, code: int = 0) -> str:
    """Standard output; raises AssertionError for another exit code."""
    done = CliRunner().invoke(app, ["usage", *map(str, arguments)], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.exit_code == code, done.output
    return done.output


def test_a_table_shows_what_there_is(ledger: str) -> None:
    """Columns without a number in them are left out."""
    header, *rows = run("--ledger", ledger, "--by", "key").splitlines()
    assert header.split() == ["key", "requests", "input", "cost"]
    assert [row.split() for row in rows] == [["app", "1", "1,000", "0.25", "USD"], ["ci", "2", "2,000", "0.5", "USD"]]


def test_a_table_is_not_folded_where_no_terminal_reads_it(ledger: str) -> None:
    """A pipe and a file are as wide as their lines."""
    by = "key,route,served_model,provider,outcome"
    done = CliRunner().invoke(app, ["usage", "--ledger", ledger, "--by", by], env={"COLUMNS": "40"})
    assert len(done.stdout.splitlines()) == 1 + 3
    assert "gpt-4o-2024-08-06" in done.stdout


def test_programs_get_every_column(ledger: str) -> None:
    """As CSV and as JSON, the same numbers."""
    rows = list(csv.DictReader(io.StringIO(run("--ledger", ledger, "--by", "key,day", "--csv"))))
    assert [(row["key"], row["day"], row["cost"], row["unpriced_attempts"]) for row in rows] == [
        ("app", "2026-09-27", "0.25", "0"),
        ("ci", "2026-09-27", "0.5", "0"),
    ]
    answer = json.loads(run("--ledger", ledger, "--by", "key,day", "--json"))
    assert [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in answer["usage"]
    ] == rows


def test_the_configuration_says_where_the_ledger_is(ledger: str, tmp_path: Path) -> None:
    """As for the gateway itself."""
    config = tmp_path / "kortex.yaml"
    config.write_text(f'ledger: {{url: "{ledger}"}}')
    assert "0.75" in run("--config", config, "--by", "month", "--since", "2026-09-01")
    assert "requests" in run("--config", config, "--until", "2026-09-01")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param([], 2, "say which ledger", id="no-ledger"),
        pytest.param(["--ledger", "sqlite:///x.db", "--by", "colour"], 2, "cannot report by 'colour'", id="name"),
        pytest.param(["--ledger", "sqlite:///x.db", "--csv", "--json"], 2, "one of --csv and --json", id="two-forms"),
        pytest.param(["--ledger", "mysql://x"], 2, "write sqlite:///FILE", id="url"),
        pytest.param(["--ledger", "postgresql://u@127.0.0.1:9/x"], 1, "cannot be read", id="away"),
    ],
)
def test_what_cannot_be_answered_is_explained(arguments: list[str], code: int, said: str) -> None:
    """Whose mistake it was is in the exit code."""
    assert said in run(*arguments, code=code)


@pytest.mark.parametrize("command", [["usage"], ["usage", "--json"], ["usage", "reconcile", "no.csv"]])
def test_a_ledger_that_is_not_there_is_no_empty_one(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does asking make one."""
    monkeypatch.chdir(tmp_path)
    Path("kortex.yaml").write_text("ledger: {url: 'sqlite:///usage.db'}")
    for options in (["--ledger", "sqlite:///usage.db"], ["--config", "kortex.yaml"]):
        done = CliRunner().invoke(app, [*command, *options])
        assert done.exit_code == 1
        assert done.output == (
            f"kortex: there is no ledger at {tmp_path}/usage.db: no gateway has recorded anything there\n"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["kortex.yaml"]


def test_an_invoice_that_agrees_is_said_to(ledger: str, tmp_path: Path) -> None:
    """Another provider's costs are not compared with it."""
    invoice = tmp_path / "costs.csv"
    invoice.write_text(
        "start_time_iso,amount_value,amount_currency,line_item\n"
        '2026-09-27T00:00:00+00:00,0.501,usd,"gpt-4o-2024-08-06, input"\n'
    )
    assert "0 of 1 differ, 1 agree" in run("reconcile", invoice, "--ledger", ledger)
    shown = run("reconcile", invoice, "--ledger", ledger, "--tolerance", "0.0005", code=3)
    assert [line.split() for line in shown.splitlines()][1:2] == [
        ["2026-09-27", "gpt-4o", "0.501", "0.5", "0.001", "USD"]
    ]


def test_any_file_is_compared_by_its_columns(ledger: str, tmp_path: Path) -> None:
    """For providers whose export is not known."""
    invoice = tmp_path / "bill.csv"
    invoice.write_text("Date,Amount\n2026-09-27,0.25\n")
    columns = ("--columns", "day=Date,cost=Amount", "--provider", "mistral")
    assert "0 of 1 differ" in run("reconcile", invoice, "--ledger", ledger, *columns)


@pytest.mark.parametrize(
    ("text", "arguments", "code", "said"),
    [
        pytest.param("Date,Amount\n2026-09-27,1\n", [], 1, "no known export has the columns", id="unknown"),
        pytest.param("a", ["--columns", "cost=a"], 2, "write day=COLUMN,cost=COLUMN", id="columns"),
        pytest.param("a", ["--tolerance", "-1"], 2, "write an amount", id="tolerance"),
        pytest.param("usage_date_utc,cost_usd,model\n", [], 1, "no amount", id="nothing-in-it"),
    ],
)
def test_an_invoice_that_cannot_be_read_is_no_difference(
    ledger: str, tmp_path: Path, text: str, arguments: list[str], code: int, said: str
) -> None:
    """Scripts must be able to tell."""
    invoice = tmp_path / "bill.csv"
    invoice.write_text(text)
    assert said in run("reconcile", invoice, "--ledger", ledger, *arguments, code=code)
