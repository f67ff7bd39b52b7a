"""``kortex check``: everything that is wrong with a kortex.yaml, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from extproc.config.gateway import Config
from extproc.config.load import ConfigError, Problem, load
from extproc.providers.registry import SETTINGS


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="kortex.yaml")],
    *,
    envoy: Annotated[Path | None, typer.Option(help="An Envoy binary in place of the one that is installed.")] = None,
    no_envoy: Annotated[
        bool, typer.Option("--no-envoy", help="Do not ask Envoy about what it would be given.")
    ] = False,
) -> None:
    """Tell all problems at once, each with its place and how to mend it. Exit code 1 when there is one."""
    from rich.console import Console

    from extproc.cli.console import FAILED, count, failures_told, tell_problems
    from extproc.server.watch import read_config

    console = Console(soft_wrap=True)
    name = str(file)
    with failures_told(name):
        text = read_config(file)
        try:
            loaded = load(text, SETTINGS)
            problems = _unreadable_secrets(text)
        except ConfigError as error:
            tell_problems(console, name, error.problems)
            console.print(f"{name}: {count(len(error.problems), 'problem')}", style="bold red", highlight=False)
            raise typer.Exit(FAILED) from None
        refusal = None if no_envoy else _refusal_by_envoy(loaded.config, envoy)
        tell_problems(console, name, loaded.warnings, style="yellow")
        tell_problems(console, name, problems)
        if refusal is not None:
            console.print(f"{name}: Envoy refuses what this becomes: {refusal}", markup=False, highlight=False)
        failed = len(problems) + (refusal is not None)
        warned = f", {count(len(loaded.warnings), 'warning')}" if loaded.warnings else ""
        result = f"{count(failed, 'problem') if failed else 'no problems'}{warned}"
        console.print(f"{name}: {result}", style="bold red" if failed else "green", highlight=False)
        if failed:
            raise typer.Exit(FAILED)


def _unreadable_secrets(text: bytes) -> tuple[Problem, ...]:
    """``text`` is otherwise in order."""
    from extproc.server.reload import build_snapshot

    try:
        build_snapshot(text, number=1)
    except ConfigError as error:
        return error.problems
    return ()


def _refusal_by_envoy(config: Config, envoy: Path | None) -> str | None:
    """Why Envoy would not start with this configuration; None when it would. Raises EnvoyError when it cannot say."""
    from extproc.bootstrap.placement import Placement
    from extproc.bootstrap.process import find_envoy
    from extproc.bootstrap.render import render_static
    from extproc.bootstrap.system_roots import find_system_roots
    from extproc.cli.envoy_binary import validate
    from extproc.cli.without_secrets import compile_without_secrets

    placement = Placement(
        xds_directory="/nowhere",
        workers=("unix:/nowhere/worker-0.sock",),
        admin="unix:/nowhere/admin.sock",
        system_ca=find_system_roots(),
    )
    binary = find_envoy(None if envoy is None else str(envoy))
    return validate(binary, render_static(compile_without_secrets(config), placement))
