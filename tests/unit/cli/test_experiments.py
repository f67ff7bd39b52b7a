"""``kortex experiments report``, as people and programs read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from extproc.cli.main import app
from extproc.ledger.booking import book
from extproc.ledger.database import Database
from tests.unit.cli.test_usage import entry

CONFIG = """
ledger: {{url: "{url}"}}
backends:
  old: {{provider: custom, url: "http://old.test"}}
  new: {{provider: custom, url: "http://new.test"}}
routes:
  r:
    models: [m]
    defaultBackend: {{name: old}}
    experiments:
      - {{name: price, control: old, treatment: new, trafficPercent: {percent}}}
      - {{name: team, control: old, treatment: new, trafficPercent: 50, unit: {{header: x-team}}}}
      - {{name: idle, control: old, treatment: new}}
"""


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """The URL of one with 20 users of each variant, a call each."""
    url = f"sqlite:///{tmp_path}/usage.db"
    database = Database(url)
    database.prepare()
    entries = [
        entry(
            number,
            user=f"u{number}",
            experiments=f"price={'control' if number % 2 else 'treatment'}",
            request_ms=100.0 if number % 2 else 200.0,
            output_tokens=10,
        )
        for number in range(40)
    ]
    with database.writing() as connection:
        book(connection, [*entries, entry(40, experiments="team=control")])
    database.close()
    return url


@pytest.fixture
def config(ledger: str, tmp_path: Path) -> Path:
    """A file with that ledger, and the experiments behind it."""
    file = tmp_path / "kortex.yaml"
    file.write_text(CONFIG.format(url=ledger, percent=50))
    return file


def run(*arguments: str | Path, code: int = 0) -> str:
    """Its output; raises AssertionError for another exit code."""
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "KORTEX_CONFIG": ""}
    done = CliRunner().invoke(app, ["experiments", "report", *map(str, arguments)], env=environment)
    assert done.exit_code == code, done.output
    return done.output


def rows(output: str) -> dict[str, list[str]]:
    """The table's, by their first cell."""
    cells = ([cell.strip() for cell in line.split("  ") if cell.strip()] for line in output.splitlines())
    return {first: rest for first, *rest in filter(None, cells)}


def test_a_table_compares_the_variants(config: Path) -> None:
    """With the backends behind them, the unit, and whether the split is chance."""
    shown = run("price", "--config", config)
    table = rows(shown)
    assert table["per request, 95 % interval"] == ["control old", "treatment new", "difference"]
    assert (table["units"], table["requests"]) == (["20", "20"], ["20", "20"])
    assert table["latency mean, ms"] == ["100 (100 … 100)", "200 (200 … 200)", "100 (100 … 100)"]
    assert table["cost USD"] == ["0.25 (0.25 … 0.25)", "0.25 (0.25 … 0.25)", "0 (0 … 0)"]
    assert table["answered, %"][0] == "100 (83.89 … 100)"
    assert "A unit is a user" in shown
    assert "with p = 1." in shown
    assert "WARNING" not in shown
    assert "team" not in shown


def test_a_split_that_is_not_chance_is_warned_of(config: Path, ledger: str) -> None:
    """The config meant one in ten to be treated."""
    config.write_text(CONFIG.format(url=ledger, percent=10))
    assert "WARNING: this split is not chance" in run("price", "--config", config)
    (told,) = json.loads(run("price", "--config", config, "--json"))["experiments"]
    assert told["split"]["suspicious"] is True
    assert told["split"]["p"] < 0.001


def test_what_the_ledger_alone_knows_is_said_to_be_less(ledger: str) -> None:
    """Without a config each request stands for itself, and nobody knows how it was to be split."""
    shown = run("--ledger", ledger)
    assert rows(shown)["per request, 95 % interval"] == ["control", "treatment", "difference"]
    assert "each request: only --config tells what was kept together" in shown
    assert "The split is not judged" in shown
    assert "with p" not in shown


def test_a_unit_that_is_not_recorded_is_named(config: Path) -> None:
    """For it makes the intervals too narrow."""
    assert "the ledger does not record the header x-team" in run("team", "--config", config)


def test_programs_get_every_number(config: Path) -> None:
    """As JSON, all experiments that were recorded."""
    told: list[dict[str, Any]] = json.loads(run("--config", config, "--json"))["experiments"]
    assert [one["name"] for one in told] == ["price", "team"]
    price, team = told
    assert price["settings"]["treatment"] == "new"
    assert price["variants"]["treatment"]["units"] == 20
    assert price["variants"]["treatment"]["latency_mean"] == {"value": 200.0, "interval": [200.0, 200.0]}
    assert price["difference"]["latency_mean"]["value"] == 100.0
    assert price["split"] == {"p": 1.0, "suspicious": False}
    assert team["variants"]["treatment"]["latency_mean"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["idle"], "nothing is recorded of idle", id="no-call-yet"),
        pytest.param(["nobody"], "nothing is recorded of nobody", id="unknown"),
        pytest.param(["--until", "2020-01-01"], "nothing is recorded of any experiment", id="time"),
    ],
)
def test_nothing_recorded_is_no_failure(config: Path, arguments: list[str], said: str) -> None:
    """It is said in a line, and to programs by an empty list."""
    assert said in run(*arguments, "--config", config)
    assert json.loads(run(*arguments, "--config", config, "--json")) == {"experiments": []}


def test_a_ledger_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    """And asking makes no file."""
    assert f"there is no ledger at {tmp_path}/none.db" in run("--ledger", f"sqlite:///{tmp_path}/none.db", code=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param([], 2, "say which ledger", id="no-ledger"),
        pytest.param(["--ledger", "sqlite:///x.db", "--since", "soon"], 2, "'soon' is no time", id="time"),
        pytest.param(["--ledger", "postgresql://u@127.0.0.1:9/x"], 1, "cannot be read", id="away"),
    ],
)
def test_what_cannot_be_answered_is_explained(arguments: list[str], code: int, said: str) -> None:
    """Whose mistake it was is in the exit code."""
    assert said in run(*arguments, code=code)
