"""``kortex selftest``: what clients would see if providers failed, before they do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from extproc.cli.config_file import ConfigFile, ConfigOption, required_config_file

if TYPE_CHECKING:
    from extproc.selftest.run import Report


def selftest(
    context: typer.Context,
    file: ConfigFile = None,
    *,
    config: ConfigOption = None,
    route: Annotated[list[str] | None, typer.Option(help="Only this route; may be given more than once.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    within: Annotated[int, typer.Option(min=1, help="Seconds after which it gives up.")] = 600,
    envoy: Annotated[Path | None, typer.Option(help="An Envoy binary in place of the one that is installed.")] = None,
) -> None:
    """Drive every route through a wall of faults, with fake providers in place of the configured ones.

    Exit code 1 when a client would see anything else than the failover table promises.
    """
    import uvloop
    from rich.console import Console

    from extproc.cli.console import FAILED, failures_told
    from extproc.cli.selftest_table import print_report

    path = required_config_file(context, file, config)
    with failures_told(str(path)):
        report = uvloop.run(_run(path, tuple(route or ()), within, envoy))
        if json:
            _write_json(report)
        else:
            print_report(Console(), report)
        if report.surprises:
            raise typer.Exit(FAILED)


async def _run(config: Path, only: tuple[str, ...], within: int, envoy: Path | None) -> Report:
    """Raises ConfigError, ConfigUnreadable, EnvoyError, StartError and Failed."""
    from extproc.bootstrap.process import find_envoy
    from extproc.bootstrap.system_roots import find_system_roots
    from extproc.cli.console import Failed
    from extproc.cli.run_directory import run_directory
    from extproc.cli.signals import SIGNALLED, StopSignals, first_of
    from extproc.selftest.run import read_play, run_selftest
    from extproc.server.logs import log_to_standard_error
    from extproc.server.supervisor import Setup
    from extproc.server.watch import read_config

    play = read_play(read_config(config))
    routes = play.config.routes
    if not routes:
        raise Failed(f"{config} has no routes")
    for name in only:
        if name not in routes:
            raise Failed(f"{config} has no route {name!r}: its routes are {', '.join(routes)}")
    log_to_standard_error("error")
    binary = find_envoy(None if envoy is None else str(envoy))
    with run_directory() as directory:
        setup = Setup(envoy=binary, workers=1, directory=directory, system_ca=find_system_roots())
        signals = StopSignals()
        running = asyncio.ensure_future(run_selftest(play, only or tuple(routes), setup))
        try:
            async with asyncio.timeout(within):
                await first_of(running, signals.first)
        except TimeoutError:
            raise Failed(f"the self-test was not through after {within} s: give it more time with --within") from None
        finally:
            # However it ends, no process is left.
            running.cancel()
            await asyncio.wait((running,))
            signals.release()
        if signals.first.done():
            raise typer.Exit(SIGNALLED + signals.first.result())
        return running.result()


def _write_json(report: Report) -> None:
    import orjson

    typer.echo(orjson.dumps(report.described(), option=orjson.OPT_INDENT_2))
