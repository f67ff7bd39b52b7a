"""``kortex version``: what runs here."""

from __future__ import annotations

import platform
from datetime import UTC, datetime

import typer

import extproc


def version() -> None:
    """Say the versions of Kortex, Envoy and Python."""
    from extproc.bootstrap.process import EnvoyError, find_envoy
    from extproc.cli.envoy_binary import envoy_version
    from extproc.metering.price_list import price_list

    try:
        envoy = envoy_version(find_envoy(None))
    except EnvoyError as error:
        envoy = f"not available: {error}"
    typer.echo(f"kortex {extproc.__version__}")
    typer.echo(f"envoy {envoy}")
    typer.echo(f"python {platform.python_version()}")
    typer.echo(f"prices {price_list(datetime.now(UTC).date())}")


def show_and_exit(asked: bool) -> None:
    """The same as ``--version``."""
    if asked:
        version()
        raise typer.Exit
