"""``kortex experiments``: what came of the comparisons that routes make."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Comparisons of two backends.", no_args_is_help=True)


@app.callback()
def experiments() -> None:
    """Comparisons of two backends."""


@app.command()
def report(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="An experiment. Default: all.")] = None,
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", envvar="KORTEX_CONFIG", help="kortex.yaml, whose ledger and experiments are meant."),
    ] = None,
    ledger: Annotated[
        str | None,
        typer.Option("--ledger", help="The database's URL instead; a password is in PGPASSWORD or ~/.pgpass."),
    ] = None,
    since: Annotated[str | None, typer.Option(help="A date, a time, or how long ago: 24h, 7d.")] = None,
    until: Annotated[str | None, typer.Option(help="The same; what ended then is left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON.")] = False,
) -> None:
    """Compare each experiment's variants by what the ledger has of them, with 95 % intervals."""
    import time

    from extproc.cli.experiment_table import as_document, print_comparisons
    from extproc.cli.ledger_database import asked
    from extproc.cli.recorded_experiments import settings_of, setup_of
    from extproc.ledger.experiment_report import compare
    from extproc.ledger.question import BadQuestion, read_question

    try:
        time_asked = read_question(None, since, until, now=time.time())
    except BadQuestion as error:
        raise typer.BadParameter(str(error)) from None
    with asked(config, ledger) as database:
        settings = settings_of(config)
        setups = {known: setup_of(experiment) for known, experiment in settings.items()}
        found = compare(database, setups, only=name, since=time_asked.since, until=time_asked.until)
    if as_json:
        typer.echo(as_document(found, settings))
    else:
        print_comparisons(found, settings, name)
