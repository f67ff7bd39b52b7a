"""Which kortex.yaml a command is about: named by itself, with ``--config``, or in ``KORTEX_CONFIG``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

VARIABLE: Final = "KORTEX_CONFIG"

ConfigFile = Annotated[Path | None, typer.Argument(metavar="FILE", help="kortex.yaml", show_default=False)]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", envvar=VARIABLE, help="The same as FILE."),
]


def config_file(context: typer.Context, file: Path | None, config: Path | None) -> Path | None:
    """What the command line names, before the environment. Raises typer.BadParameter when it names two files."""
    if file is None or config is None or file == config:
        return file or config
    source = context.get_parameter_source("config")
    if source is not None and source.name == "ENVIRONMENT":
        return file
    raise typer.BadParameter(f"give one file: {file}, or --config {config}")


def required_config_file(context: typer.Context, file: Path | None, config: Path | None) -> Path:
    """The same. Raises typer.BadParameter also when there is none."""
    found = config_file(context, file, config)
    if found is None:
        raise typer.BadParameter("say which file: kortex.yaml, or --config kortex.yaml", param_hint="FILE")
    return found
