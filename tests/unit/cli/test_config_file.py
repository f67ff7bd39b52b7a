"""The configuration's file on the command line: every verb takes it by itself and with ``--config``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from extproc.cli.main import app

RUNNER = CliRunner()
FILE_VERBS = {
    "check": ("--no-envoy",),
    "render": ("--output", "out"),
    "run": (),
    "serve": (),
    "selftest": (),
}


def said(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What a command that cannot succeed says; its boxes and line breaks are left out."""
    variables = {"COLUMNS": "200", "NO_COLOR": "1", "KORTEX_CONFIG": "", **(environment or {})}
    result = RUNNER.invoke(app, list(arguments), env=variables)
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code in {1, 2}
    return result.output


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Whoever has read it says where its mistake is."""
    path = tmp_path / "kortex.yaml"
    path.write_text("routes: 7\n")
    return path


@pytest.mark.parametrize(("verb", "options"), FILE_VERBS.items(), ids=FILE_VERBS)
def test_verbs_take_the_file_by_itself_and_as_an_option(verb: str, options: tuple[str, ...], broken: Path) -> None:
    """``kortex check FILE``, ``kortex run --config FILE``: nobody has to remember which is which."""
    for spelling in ((str(broken),), ("--config", str(broken)), (str(broken), "--config", str(broken))):
        assert f"{broken}:1: routes" in said(verb, *spelling, *options)
    assert f"{broken}:1: routes" in said(verb, *options, environment={"KORTEX_CONFIG": str(broken)})


@pytest.mark.parametrize("verb", FILE_VERBS)
def test_two_files_are_refused(verb: str, broken: Path) -> None:
    """It cannot be told which is meant."""
    assert f"give one file: other.yaml, or --config {broken}" in said(
        verb, "other.yaml", "--config", str(broken), *FILE_VERBS[verb]
    )


def test_the_command_line_goes_before_the_environment(broken: Path) -> None:
    """In both spellings."""
    elsewhere = {"KORTEX_CONFIG": "elsewhere.yaml"}
    assert f"{broken}:1: routes" in said("check", str(broken), environment=elsewhere)
    assert f"{broken}:1: routes" in said("check", "--config", str(broken), environment=elsewhere)


@pytest.mark.parametrize("verb", sorted(FILE_VERBS.keys() - {"run"}))
def test_no_file_at_all_is_told_with_what_to_write(verb: str) -> None:
    """Only ``run`` can do without."""
    assert "say which file: kortex.yaml, or --config kortex.yaml" in said(verb, *FILE_VERBS[verb])


def test_explain_takes_the_file_from_the_environment_too(broken: Path, tmp_path: Path) -> None:
    """Its one argument is the request."""
    request = tmp_path / "request.json"
    request.write_text("{}")
    assert f"{broken}:1: routes" in said("explain", str(request), environment={"KORTEX_CONFIG": str(broken)})
