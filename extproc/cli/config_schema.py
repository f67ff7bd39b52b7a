"""``kortex config schema``: what may stand in kortex.yaml, for editors and for checks without Kortex."""

from __future__ import annotations

import typer

app = typer.Typer(help="About kortex.yaml.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """About kortex.yaml."""


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of kortex.yaml (draft 2020-12)."""
    import orjson

    from extproc.config.schema import json_schema
    from extproc.providers.registry import SETTINGS

    typer.echo(orjson.dumps(json_schema(SETTINGS), option=orjson.OPT_INDENT_2))
