"""The command ``kortex``: its verbs, held together. Each is a file of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from extproc.cli import (
    check,
    config_schema,
    experiments,
    explain,
    keys,
    render,
    run,
    selftest,
    serve,
    usage,
    version,
)
from extproc.cli.whole_output import whole_output

app = typer.Typer(
    name="kortex",
    help="An LLM gateway: Envoy moves the bytes, this decides where they go.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("run")(run.run)
app.command("serve")(serve.serve)
app.command("check")(check.check)
app.command("explain")(explain.explain)
app.command("selftest")(selftest.selftest)
app.command("render")(render.render)
app.add_typer(config_schema.app, name="config")
app.add_typer(usage.app, name="usage")
app.add_typer(keys.app, name="keys")
app.add_typer(experiments.app, name="experiments")
app.command("version")(version.version)


@app.callback()
def main(
    context: typer.Context,
    *,
    show_version: Annotated[  # noqa: ARG001 - its callback answers
        bool,
        typer.Option("--version", callback=version.show_and_exit, is_eager=True, help="Say the versions and exit."),
    ] = False,
) -> None:
    """An LLM gateway: Envoy moves the bytes, this decides where they go."""
    context.with_resource(whole_output())


if __name__ == "__main__":
    app(prog_name="kortex")
