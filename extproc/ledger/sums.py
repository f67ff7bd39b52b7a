"""The tables of sums: what is booked is added to each of them, and what is too old is taken out.

A day's row, and a month's, is at any moment the sum of the hours that are kept of it: a report may read either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import orjson
from sqlalchemy import Connection, RowMapping, Table, and_, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from extproc.exchange.trail import ANSWERED
from extproc.ledger.columns import COUNTS, DIMENSIONS, TOKENS
from extproc.ledger.money import split
from extproc.ledger.periods import DAY, HOUR, HOUR_MS, MONTH, Period
from extproc.ledger.schema import DAYS, HOURS, MONTHS

PERIODS: Final[Mapping[Table, Period]] = {HOURS: HOUR, DAYS: DAY, MONTHS: MONTH}
"""What a row of each table sums up."""

_STEP: Final = 2_000

Row = dict[str, Any]


def _added(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    """To the row of the same time and dimensions, where there is one."""
    statement = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    sums = {name: table.c[name] + statement.excluded[name] for name in COUNTS}
    return statement.on_conflict_do_update(index_elements=["id"], set_=sums)


_ADD: Final = {(dialect, table): _added(dialect, table) for dialect in ("sqlite", "postgresql") for table in PERIODS}
_DIMENSIONS: Final = {table: tuple(name for name in DIMENSIONS if name in table.c) for table in PERIODS}


def add_up(connection: Connection, attempts: Iterable[Row], exchanges: Iterable[Row]) -> None:
    """Rows that are new, and are booked in the same transaction."""
    hours = _by_the_hour(attempts, exchanges)
    for table in PERIODS:
        _add(connection, table, hours if table is HOURS else _coarser(hours, table))


def add_hours(connection: Connection, table: Table, begin: int, end: int, *, sign: int = 1) -> None:
    """What the hours from ``begin`` and before ``end`` come to is added to a coarser table, or with -1 taken out."""
    names = _DIMENSIONS[table]
    dimensions = [HOURS.c[name] for name in names]
    sums = [func.sum(HOURS.c[name]).label(name) for name in COUNTS]
    for first, after in _cut(begin, end, PERIODS[table]):
        inside = HOURS.c.hour >= first, HOURS.c.hour < after
        statement = select(*dimensions, *sums).where(*inside).group_by(*dimensions)
        hour = PERIODS[table].begin(first)
        for rows in connection.execute(statement.execution_options(yield_per=_STEP)).mappings().partitions():
            empty = [_empty(hour, names, [row[name] for name in names]) for row in rows]
            _add(connection, table, [_plus(total, row, sign) for total, row in zip(empty, rows, strict=True)])


def forget_hours(connection: Connection, oldest: int) -> int:
    """Delete what is older than that hour, and tell how many rows that were."""
    deleted = 0
    for table, period in PERIODS.items():
        if table is HOURS:
            continue
        begin = period.begin(oldest)
        add_hours(connection, table, begin, oldest, sign=-1)
        emptied = and_(table.c.hour == begin, table.c.attempts == 0, table.c.requests == 0)
        deleted += connection.execute(delete(table).where(or_(table.c.hour < begin, emptied))).rowcount
    return deleted + connection.execute(delete(HOURS).where(HOURS.c.hour < oldest)).rowcount


def _add(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    if rows:
        connection.execute(_ADD[connection.dialect.name, table], rows)


def _cut(begin: int, end: int, period: Period) -> Iterator[tuple[int, int]]:
    while begin < end:
        after = min(period.after(begin), end)
        yield begin, after
        begin = after


def _by_the_hour(attempts: Iterable[Row], exchanges: Iterable[Row]) -> list[Row]:
    sums: dict[tuple[Any, ...], Row] = {}
    for row in attempts:
        total = _hour(sums, row)
        total["attempts"] += 1
        total["failed_attempts"] += row["outcome"] != ANSWERED
        total["estimated_attempts"] += row["usage_source"] == "estimated"
        total["unpriced_attempts"] += row["cost"] is None and row["input_tokens"] is not None
        for name in TOKENS:
            total[name] += row[name] or 0
        if row["cost"] is not None:
            nanos, attos = split(Decimal(row["cost"]))
            total["cost_nanos"] += nanos
            total["cost_attos"] += attos
    for row in exchanges:
        total = _hour(sums, row)
        total["requests"] += 1
        total["refused"] += row["attempts"] == 0
    return _in_order(sums)


def _hour(sums: dict[tuple[Any, ...], Row], row: Row) -> Row:
    return _total(sums, HOURS, row["ended_ms"] // HOUR_MS, [row[name] or "" for name in DIMENSIONS])


def _coarser(hours: Iterable[Row], table: Table) -> list[Row]:
    names, begin = _DIMENSIONS[table], PERIODS[table].begin
    sums: dict[tuple[Any, ...], Row] = {}
    for row in hours:
        total = _total(sums, table, begin(row["hour"]), [row[name] for name in names])
        for name in COUNTS:
            total[name] += row[name]
    return _in_order(sums)


def _total(sums: dict[tuple[Any, ...], Row], table: Table, hour: int, where: Sequence[str]) -> Row:
    found = sums.get((hour, *where))
    if found is None:
        found = sums[hour, *where] = _empty(hour, _DIMENSIONS[table], where)
    return found


def _empty(hour: int, names: Sequence[str], where: Sequence[str]) -> Row:
    """A row of that time and those dimensions, which nothing has been added to."""
    identity = hashlib.blake2b(orjson.dumps([hour, *where]), digest_size=20).hexdigest()
    return {"id": identity, "hour": hour, **dict(zip(names, where, strict=True)), **dict.fromkeys(COUNTS, 0)}


def _plus(total: Row, counts: RowMapping, sign: int) -> Row:
    """PostgreSQL's sums of whole numbers come as decimals."""
    return total | {name: total[name] + sign * int(counts[name]) for name in COUNTS}


def _in_order(sums: Mapping[tuple[Any, ...], Row]) -> list[Row]:
    """Of their ids, which is how a database likes them."""
    return sorted(sums.values(), key=lambda row: str(row["id"]))
