"""Entries → rows and sums, in one transaction: an entry that comes again after a crash changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, insert, select, text

from extproc.ledger.entry import ATTEMPT
from extproc.ledger.schema import ATTEMPTS, EXCHANGES, PARTITIONED
from extproc.ledger.sums import add_up

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """How many rows were new."""

    attempts: int
    exchanges: int


def book(connection: Connection, entries: Sequence[Mapping[str, Any]]) -> Booked:
    """Everything that is not there yet. The caller's transaction makes it one step, and keeps other writers out."""
    attempts = _new_attempts(connection, entries)
    exchanges = _new_exchanges(connection, entries)
    if connection.dialect.name == "postgresql":
        _make_partitions(connection, {row["ended_ms"] for row in (*attempts, *exchanges)})
    for table, rows in ((ATTEMPTS, attempts), (EXCHANGES, exchanges)):
        if rows:
            connection.execute(insert(table), rows)
    add_up(connection, attempts, exchanges)
    return Booked(attempts=len(attempts), exchanges=len(exchanges))


def _new_attempts(connection: Connection, entries: Iterable[Mapping[str, Any]]) -> list[Row]:
    found = {(entry["exchange"], entry["attempt"]): entry for entry in reversed(list(entries)) if _is_attempt(entry)}
    if not found:
        return []
    known = select(ATTEMPTS.c.exchange, ATTEMPTS.c.attempt).where(
        ATTEMPTS.c.exchange.in_({exchange for exchange, _ in found})
    )
    there = {(row.exchange, row.attempt) for row in connection.execute(known)}
    return [_row(entry, ATTEMPTS) for identity, entry in found.items() if identity not in there]


def _new_exchanges(connection: Connection, entries: Iterable[Mapping[str, Any]]) -> list[Row]:
    found = {entry["exchange"]: entry for entry in reversed(list(entries)) if not _is_attempt(entry) or entry["final"]}
    if not found:
        return []
    known = select(EXCHANGES.c.exchange).where(EXCHANGES.c.exchange.in_(found))
    there = set(connection.execute(known).scalars())
    return [_exchange(entry) for identity, entry in found.items() if identity not in there]


def _is_attempt(entry: Mapping[str, Any]) -> bool:
    return bool(entry["kind"] == ATTEMPT)


def _row(entry: Mapping[str, Any], table: Table) -> Row:
    return {column.name: entry.get(column.name) for column in table.columns}


def _exchange(entry: Mapping[str, Any]) -> Row:
    """The client's view: its times begin on arrival. Tokens and money are those of the attempt that ended it."""
    row = _row(entry, EXCHANGES)
    first = entry.get("first_token_ms")
    row["attempts"] = entry["attempt"] if _is_attempt(entry) else 0
    row["duration_ms"] = entry["request_ms"]
    if first is not None:
        row["first_token_ms"] = round(entry["request_ms"] - entry["duration_ms"] + first, 3)
    return row


def _make_partitions(connection: Connection, times: Iterable[int]) -> None:
    """One a month; made in the transaction that first needs it."""
    moments = (datetime.fromtimestamp(ended / 1_000, UTC) for ended in times)
    for year, month in {(moment.year, moment.month) for moment in moments}:
        for table in PARTITIONED:
            bounds = f"FROM ({_begin_of(year, month)}) TO ({month_after(year, month)})"
            name = f"{table.name}_{year:04}_{month:02}"
            connection.execute(text(f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table.name} FOR VALUES {bounds}"))


def month_after(year: int, month: int) -> int:
    """The first moment that no longer belongs to a month, in Unix milliseconds."""
    return _begin_of(year + month // 12, month % 12 + 1)


def _begin_of(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1_000)
