"""``kortex render``: files that an Envoy elsewhere starts with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from extproc.bootstrap.process import find_envoy
from extproc.cli.envoy_binary import validate
from extproc.cli.main import app

CONFIG = """\
backends:
  a: {provider: openai, apiKey: {env: KORTEX_TEST_NOT_SET}}
routes:
  chat: {models: [m], defaultBackend: {name: a}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration whose secret is not here."""
    path = tmp_path / "kortex.yaml"
    path.write_text(CONFIG)
    return path


def render(file: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and all that was said; the files are in ``out`` beside the configuration."""
    result = CliRunner().invoke(app, ["render", str(file), "--output", str(file.with_name("out")), *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def read(file: Path, name: str) -> Any:
    """One of the files."""
    return json.loads((file.with_name("out") / name).read_text())


def test_files_are_written_without_any_secret_read(file: Path) -> None:
    """Whoever renders need not be who may know the keys."""
    assert render(file) == (0, "")
    assert sorted(path.name for path in file.with_name("out").iterdir()) == ["bootstrap.json", "cds.json", "lds.json"]
    assert read(file, "lds.json")["resources"][0]["name"] == "edge"


def test_envoy_starts_with_the_bootstrap(file: Path) -> None:
    """It would: the real one says so. The directory that it follows is the one that was written."""
    render(file)
    bootstrap = read(file, "bootstrap.json")
    assert validate(find_envoy(None), bootstrap) is None
    assert str(file.with_name("out") / "cds.json") in json.dumps(bootstrap)


def test_places_are_as_envoy_sees_them(file: Path) -> None:
    """In a container the paths are others than here."""
    places = ("--worker", "extproc:9002", "--xds-directory", "/etc/kortex/xds", "--admin", "0.0.0.0:9901")
    assert render(file, *places, "--system-ca", "/etc/ssl/cert.pem") == (0, "")
    text = json.dumps(read(file, "bootstrap.json"))
    assert '"/etc/kortex/xds/lds.json"' in text
    assert '"address": "extproc", "port_value": 9002' in text
    assert '"port_value": 9901' in text
    assert '"/etc/ssl/cert.pem"' in text


def test_workers_may_be_many(file: Path) -> None:
    """Envoy balances over them."""
    assert render(file, "--worker", "unix:/run/a.sock", "--worker", "unix:/run/b.sock")[0] == 0
    text = json.dumps(read(file, "bootstrap.json"))
    assert "/run/a.sock" in text
    assert "/run/b.sock" in text


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--worker", "nowhere"], id="no address"),
        pytest.param(["--worker", "unix:relative.sock"], id="a relative path"),
        pytest.param(["--worker", "unix:/a.sock", "--worker", "b:1"], id="mixed kinds"),
        pytest.param(["--admin", "9901"], id="a port alone"),
    ],
)
def test_usage_is_told_when_an_address_is_none(file: Path, arguments: list[str]) -> None:
    """By exit code 2, and nothing is written."""
    code, said = render(file, *arguments)
    assert code == 2
    assert "Error" in said
    assert not file.with_name("out").exists()


def test_problems_are_told_when_the_file_is_broken(file: Path) -> None:
    """All of them, as ``kortex check`` does."""
    file.write_text(CONFIG.replace("name: a", "name: b") + "extra: 1\n")
    code, said = render(file)
    assert code == 1
    assert f"{file}:4: routes.chat.defaultBackend.name: " in said
    assert f'{file}:5: unknown key "extra"' in said
    assert f"kortex: {file} cannot be used: 2 problems" in said


def test_reason_is_told_when_the_directory_cannot_be_made(file: Path) -> None:
    """A file is in its place."""
    file.with_name("out").write_text("")
    code, said = render(file)
    assert code == 1
    assert said == f"kortex: {file.with_name('out')}: File exists\n"
