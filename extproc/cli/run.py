"""``kortex run``: the whole gateway, Envoy and workers, until a signal ends it."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Annotated

import typer

from extproc.cli.config_file import ConfigFile, ConfigOption, config_file


def run(
    context: typer.Context,
    file: ConfigFile = None,
    *,
    config: ConfigOption = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Processes that inspect requests. Default: one per core.")
    ] = None,
    envoy: Annotated[Path | None, typer.Option(help="An Envoy binary in place of the one that is installed.")] = None,
) -> None:
    """Start the gateway, and end it in order on SIGTERM or Ctrl-C.

    Without a file, the environment tells what there is.
    """
    gc.disable()  # until it serves: starting makes a million objects and no garbage, and would take a third longer

    import uvloop

    from extproc.cli.console import failures_told, name_of
    from extproc.cli.gateway import Options, run_gateway

    path = config_file(context, file, config)
    options = Options(config=path, workers=workers or _cores(), envoy=envoy)
    with failures_told(name_of(path)):
        raise typer.Exit(uvloop.run(run_gateway(options)))


def _cores() -> int:
    """Those that this process may use, where the system can tell."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
