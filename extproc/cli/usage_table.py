"""A report of the ledger, as a table for people or as CSV and JSON for what comes after."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table

from extproc.cli.console import print_table
from extproc.ledger.database import Database
from extproc.ledger.question import Question
from extproc.ledger.report import SUMS, report

_SHOWN: Final = {
    "requests": "requests",
    "refused": "refused",
    "failed_attempts": "failed attempts",
    "input_tokens": "input",
    "cached_input_tokens": "of it cached",
    "output_tokens": "output",
    "cost": "cost",
    "currency": "",
    "unpriced_attempts": "unpriced",
    "estimated_attempts": "estimated",
}
"""The columns that people see; CSV and JSON have all."""


class Form(Enum):
    """How a report is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def show(database: Database, question: Question, form: Form) -> None:
    """Ask, and write the answer to standard output. Raises LedgerUnavailable."""
    rows = report(database, question)
    match form:
        case Form.CSV:
            writer = csv.DictWriter(sys.stdout, [*question.by, *SUMS], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        case Form.JSON:
            answer = {"by": question.by, "usage": rows}
            sys.stdout.write(orjson.dumps(answer, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())
        case Form.TABLE:
            print_table(Console(), _table(question.by, rows))


def _table(by: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    """What nothing was counted of is left out."""
    sums = [name for name in _SHOWN if name in {"requests", "cost"} or any(row[name] for row in rows)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in by:
        table.add_column(name.replace("_", " "), overflow="fold")
    for name in sums:
        table.add_column(_SHOWN[name], justify="left" if name == "currency" else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in (*by, *sums)))
    return table


def _cell(value: object) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
