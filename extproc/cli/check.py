"""``kortex check``: everything that is wrong with a kortex.yaml, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from extproc.cli.config_file import ConfigFile, ConfigOption, required_config_file


def check(
    context: typer.Context,
    file: ConfigFile = None,
    *,
    config: ConfigOption = None,
    envoy: Annotated[Path | None, typer.Option(help="An Envoy binary in place of the one that is installed.")] = None,
    no_envoy: Annotated[
        bool, typer.Option("--no-envoy", help="Do not ask Envoy about what it would be given.")
    ] = False,
) -> None:
    """Tell all problems at once, each with its place and how to mend it. Exit code 1 when there is one."""
    from rich.console import Console

    from extproc.bootstrap.process import find_envoy
    from extproc.cli.console import FAILED, failures_told
    from extproc.cli.inspection import inspect, tell

    file = required_config_file(context, file, config)
    name = str(file)
    with failures_told(name):
        binary = None if no_envoy else find_envoy(None if envoy is None else str(envoy))
        found = inspect(file, binary)
        tell(Console(soft_wrap=True), name, found)
        if found.failed:
            raise typer.Exit(FAILED)
