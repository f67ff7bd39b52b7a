"""The self-test's result for people: a line for each call, the surprises again, and what has to be known."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from extproc.cli.console import count, print_table
from extproc.selftest.asking import CHAT
from extproc.selftest.row import Row
from extproc.selftest.run import Report

_SURPRISE: Final = "surprise"
_OK: Final = 200


def print_report(console: Console, report: Report) -> None:
    """A table for each route."""
    for route in dict.fromkeys(row.route for row in report.rows):
        print_table(console, _table(route, [row for row in report.rows if row.route == route]))
    for note in report.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
    summary = f"{count(len(report.rows), 'call')}, {count(report.surprises, 'surprise')}"
    console.print(summary, style="bold red" if report.surprises else "green", highlight=False)


def _table(route: str, rows: list[Row]) -> Table:
    """Streamed and whole calls in one line, where they looked the same."""
    table = Table(title=f"route {escape(route)}", title_justify="left", title_style="bold")
    for name in ("fault", "on", "model", "call", "client saw", "answered by", "asked", "verdict"):
        table.add_column(name, overflow="fold")
    merged: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        merged.setdefault((_call(row), *_cells(row)), []).append("stream" if row.stream else "whole")
    for (call, fault, on, model, *seen, verdict), ways in merged.items():
        style = "red" if verdict.startswith(_SURPRISE) else ""
        table.add_row(*map(Text, (fault, on, model, call + ", ".join(ways), *seen)), Text(verdict, style=style))
    return table


def _call(row: Row) -> str:
    """What sets it apart from a plain chat: the operation, and the rule that takes it."""
    parts = (row.operation.strip("/") if row.operation != CHAT else "", row.rule or "")
    return "".join(f"{part}: " for part in parts if part)


def _cells(row: Row) -> tuple[str, ...]:
    """All but the kind of call."""
    saw = " ".join(filter(None, (str(row.seen.status or ""), row.seen.ending, row.seen.code)))
    answered = row.seen.backend if row.seen.status == _OK else None
    verdict = ": ".join(filter(None, (_SURPRISE if row.verdict.surprise else "ok", row.verdict.note)))
    return (row.fault, row.on or "–", row.model, saw, answered or "–", _asked(row), verdict)


def _asked(row: Row) -> str:
    """``a×2, b``: who was asked, and how often."""
    times = {backend: row.asked.count(backend) for backend in row.asked}
    return ", ".join(f"{backend}×{number}" if number > 1 else backend for backend, number in times.items()) or "–"
