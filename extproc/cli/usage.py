"""``kortex usage``: what was used and what it cost, and whether a provider's invoice says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

DIFFERS: Final = 3
"""Exit code of a reconciliation that found a difference."""

Config = Annotated[
    Path | None, typer.Option("--config", envvar="KORTEX_CONFIG", help="kortex.yaml, whose ledger is asked.")
]
Url = Annotated[
    str | None, typer.Option("--ledger", help="The database's URL instead; a password is in PGPASSWORD or ~/.pgpass.")
]

app = typer.Typer(help="What was used and what it cost.", invoke_without_command=True)


@app.callback()
def usage(  # noqa: PLR0913 - the command's options
    context: typer.Context,
    *,
    config: Config = None,
    ledger: Url = None,
    by: Annotated[
        str | None, typer.Option(help="Names with commas between, such as key,model,day. Default: day,model.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="A date, a time, or how long ago: 24h, 7d.")] = None,
    until: Annotated[str | None, typer.Option(help="The same; what began then is left out.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON.")] = False,
) -> None:
    """Report from the ledger's hourly sums, UTC."""
    if context.invoked_subcommand is not None:
        return
    import time

    from extproc.cli.ledger_database import asked
    from extproc.cli.usage_table import Form, show
    from extproc.ledger.question import BadQuestion, read_question

    if as_csv and as_json:
        raise typer.BadParameter("give one of --csv and --json")
    try:
        question = read_question(by, since, until, now=time.time())
    except BadQuestion as error:
        raise typer.BadParameter(str(error)) from None
    form = Form.CSV if as_csv else Form.JSON if as_json else Form.TABLE
    with asked(config, ledger) as database:
        show(database, question, form)


@app.command()
def reconcile(
    invoice: Annotated[Path, typer.Argument(metavar="CSV", help="A provider's export of costs.")],
    *,
    config: Config = None,
    ledger: Url = None,
    provider: Annotated[
        str | None, typer.Option(help="Whose invoice it is. Default: openai or anthropic, by the file's columns.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="The columns of any other file: day=Date,cost=Amount,model=Model,currency=Currency."),
    ] = None,
    tolerance: Annotated[str, typer.Option(help="Difference by day and model that is none.")] = "0.01",
) -> None:
    """Compare an invoice with the ledger by day and model. Exit code 3 when they differ."""
    from extproc.cli.ledger_database import asked
    from extproc.cli.reconciliation import Invoice, read_columns, read_tolerance, reconcile_with

    file = Invoice(path=invoice, provider=provider, columns=None if columns is None else read_columns(columns))
    allowed = read_tolerance(tolerance)
    with asked(config, ledger) as database:
        if reconcile_with(database, file, allowed):
            raise typer.Exit(DIFFERS)
