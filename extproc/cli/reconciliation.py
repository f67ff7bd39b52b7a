"""An invoice beside the ledger, as a table of where they differ."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.table import Table

from extproc.cli.console import Failed
from extproc.ledger.database import Database
from extproc.ledger.invoice import EXPORTS, BadInvoice, Charge, Columns, Difference, compare, read_charges, recognize
from extproc.ledger.money import spell
from extproc.ledger.question import Question
from extproc.ledger.report import report

_HOUR_SECONDS: Final = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """A file, and what the command line says of it."""

    path: Path
    provider: str | None
    columns: Columns | None


def read_columns(text: str) -> Columns:
    """``day=Date,cost=Amount`` and so on. Raises typer.BadParameter."""
    given = dict(part.partition("=")[::2] for part in text.split(","))
    names = [field.name for field in fields(Columns)]
    if not {"day", "cost"} <= given.keys() <= set(names) or not all(given.values()):
        message = f"write day=COLUMN,cost=COLUMN and, where there are, {', '.join(f'{name}=…' for name in names[2:])}"
        raise typer.BadParameter(message, param_hint="--columns")
    return Columns(**given)


def read_tolerance(text: str) -> Decimal:
    """Raises typer.BadParameter for what is no amount."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise typer.BadParameter("write an amount, such as 0.01", param_hint="--tolerance")
    return amount


def reconcile_with(database: Database, invoice: Invoice, tolerance: Decimal) -> int:
    """Print the comparison, and tell how many days and models differ. Raises Failed and LedgerUnavailable."""
    try:
        provider, charges = _read(invoice)
    except BadInvoice as error:
        raise Failed(f"{invoice.path}: {error}") from None
    if not charges:
        raise Failed(f"{invoice.path}: there is no amount in it")
    days = [charge.day for charge in charges]
    question = Question(
        by=("day", "model", "served_model"),
        since=_hour(min(days).isoformat()),
        until=_hour((max(days) + timedelta(days=1)).isoformat()),
        where={} if provider is None else {"provider": provider},
    )
    found = compare(charges, report(database, question))
    differing = [difference for difference in found if abs(difference.amount) > tolerance]
    console = Console(soft_wrap=True)
    if differing:
        console.print(_table(differing), highlight=False)
    agreeing = len(found) - len(differing)
    console.print(f"{len(differing)} of {len(found)} differ, {agreeing} agree", highlight=False)
    return len(differing)


def _read(invoice: Invoice) -> tuple[str | None, list[Charge]]:
    try:
        lines = invoice.path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise BadInvoice("it is not UTF-8 text") from None
    if invoice.columns is not None:
        return invoice.provider, list(read_charges(lines, invoice.columns))
    header = next(iter(lines), "").replace('"', "").split(",")
    known = recognize(header)
    return invoice.provider or known, list(read_charges(lines, EXPORTS[known]))


def _hour(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) // _HOUR_SECONDS


def _table(differing: list[Difference]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("day", "model"):
        table.add_column(name)
    for name in ("invoiced", "booked", "difference"):
        table.add_column(name, justify="right")
    table.add_column("")
    for one in differing:
        amounts = (one.invoiced, one.booked, one.amount)
        cells = ("–" if amount is None else spell(amount) for amount in amounts)
        table.add_row(one.day.isoformat(), one.model or "all", *cells, one.currency)
    return table
