"""Answers from the tables of sums: what was used and what it cost, by whatever somebody wants to tell apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Integer, Select, Table, case, func, inspect, literal_column, select
from sqlalchemy.exc import SQLAlchemyError

from extproc.ledger.columns import COUNTS, MONEY, TIMES
from extproc.ledger.database import Database, reason
from extproc.ledger.money import joined, spell
from extproc.ledger.periods import DAY, MONTH, moment
from extproc.ledger.question import LedgerUnavailable, Question
from extproc.ledger.schema import DAYS, HOURS, MONTHS
from extproc.ledger.sums import PERIODS

SUMS: Final = (*(name for name in COUNTS if name not in MONEY), "cost", "currency")
"""The columns of a report, after those it is by."""

_UNPRICED: Final = ""

_Bounds = tuple[int | None, int | None]
"""The first hour, and the first that no longer belongs to it."""


def report(database: Database, question: Question) -> list[dict[str, Any]]:
    """A row for each combination, in order; ``cost`` is a decimal as text, None where nothing had a price.

    Raises LedgerUnavailable.
    """
    try:
        if not database.exists():
            return []
        with database.reading() as connection:
            rows = list(_rows(question, connection))
    except SQLAlchemyError as error:
        raise LedgerUnavailable(f"the ledger {database.name} cannot be read: {reason(error)}") from error
    return _folded(rows, question.by)


def _rows(question: Question, connection: Connection) -> Iterator[Sequence[Any]]:
    # An earlier version's ledger has no months until a gateway writes to it.
    up_to_date = inspect(connection).has_table(MONTHS.name)
    tables = _tables_for(question, months=up_to_date)
    for table, bounds in _pieces(tables, (question.since, question.until)):
        used = _used(table, bounds, connection) if up_to_date else COUNTS
        yield from connection.execute(_statement(question, table, bounds, used, connection)).all()


def _tables_for(question: Question, *, months: bool) -> tuple[Table, ...]:
    """Those that know, the smallest first."""
    needed = {*question.by, *question.where}
    if "hour" in needed:
        return (HOURS,)
    if "user" not in needed:
        return (DAYS, HOURS)
    return (MONTHS, HOURS) if months and "day" not in needed else (HOURS,)


def _pieces(tables: Sequence[Table], bounds: _Bounds) -> Iterator[tuple[Table, _Bounds]]:
    """The time from the smallest table as far as whole rows of it go, and what is left at its ends from the others."""
    (table, *finer), (since, until) = tables, bounds
    begin = None if since is None else PERIODS[table].next_begin(since)
    end = None if until is None else PERIODS[table].begin(until)
    if not finer:
        yield table, bounds
    elif begin is not None and end is not None and begin >= end:
        yield from _pieces(finer, bounds)
    else:
        if begin != since:
            yield from _pieces(finer, (since, begin))
        yield table, (begin, end)
        if end != until:
            yield from _pieces(finer, (end, until))


def _used(table: Table, bounds: _Bounds, connection: Connection) -> Collection[str]:
    """What is counted and not 0 everywhere, as days tell at once: sorting a million hours by user is faster without."""
    if table is not HOURS:
        return COUNTS
    since, until = bounds
    statement = select(*(func.max(DAYS.c[name]) for name in COUNTS))
    if since is not None:
        statement = statement.where(DAYS.c.hour >= DAY.begin(since))
    if until is not None:
        statement = statement.where(DAYS.c.hour < until)
    most = connection.execute(statement).one()
    return [name for name, count in zip(COUNTS, most, strict=True) if count]


def _statement(
    question: Question, table: Table, bounds: _Bounds, used: Collection[str], connection: Connection
) -> Select[Any]:
    hour, (since, until) = table.c.hour, bounds
    asked: list[ColumnElement[bool]] = [table.c[name] == value for name, value in question.where.items()]
    if since is not None:
        asked.append(hour >= since)
    if until is not None:
        asked.append(hour < until)
    group: list[ColumnElement[Any]] = [table.c[name] for name in question.by if name not in TIMES]
    group.append(table.c.currency)
    if "hour" in question.by:
        group.append(hour.label("time"))
    elif "day" in question.by:
        group.append((hour - hour % DAY.longest).label("time"))
    elif "month" in question.by:
        first, last = connection.execute(select(func.min(hour), func.max(hour)).where(*asked)).one()
        group.append(_month_of(hour, first or 0, last or 0).label("time"))
    sums = (func.sum(table.c[name]).label(name) if name in used else literal_column("0", Integer) for name in COUNTS)
    return select(*group, *sums).where(*asked).group_by(*group)


def _month_of(hour: ColumnElement[int], first: int, last: int) -> ColumnElement[int]:
    """The first hour of the month that an hour lies in. SQLite and PostgreSQL have no function in common for that."""
    return case(*((hour < end, literal_column(str(begin))) for begin, end in _months(first, last)))


def _months(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Where each of the months begins and ends that hours from the first to the last lie in."""
    begin = MONTH.begin(first)
    while begin <= last:
        yield begin, MONTH.after(begin)
        begin = MONTH.after(begin)


def _folded(rows: Iterable[Sequence[Any]], by: tuple[str, ...]) -> list[dict[str, Any]]:
    """Hours get their names, and what came in several pieces becomes one.

    There may be a hundred thousand of them: they are taken by place, which is as in ``_statement``.
    """
    names = [name for name in by if name not in TIMES]
    currency_at = len(names)
    counts_at = currency_at + (1 if len(names) == len(by) else 2)
    places = [counts_at - 1 if name in TIMES else names.index(name) for name in by]
    spellings = [TIMES.get(name) for name in by]
    in_order = sorted(rows, key=itemgetter(*places, currency_at))
    columns = (*by, *SUMS)
    folded: list[dict[str, Any]] = []
    # Each place twice: a getter of one alone gives no tuple.
    for identity, alike in groupby(in_order, key=itemgetter(*places, *places)):
        told = [
            (value or None) if spelling is None else _spelled(value, spelling)
            for value, spelling in zip(identity, spellings, strict=False)
        ]
        for currency, counts in _by_currency(alike, currency_at, counts_at).items():
            folded.append(dict(zip(columns, (*told, *_values(currency, counts)), strict=True)))
    return folded


def _by_currency(rows: Iterable[Sequence[Any]], currency_at: int, counts_at: int) -> dict[str, list[int]]:
    """What had no price stands in a row of its own only where there are several currencies, or none."""
    found: dict[str, list[int]] = {}
    for row in rows:
        _add(found, row[currency_at], list(map(int, row[counts_at:])))
    if _UNPRICED in found and len(found) == 2:
        unpriced = found.pop(_UNPRICED)
        (only,) = found
        _add(found, only, unpriced)
    return found


def _add(currencies: dict[str, list[int]], currency: str, more: list[int]) -> None:
    counts = currencies.get(currency)
    currencies[currency] = more if counts is None else [one + other for one, other in zip(counts, more, strict=True)]


@lru_cache(maxsize=4_096)
def _spelled(hour: int, spelling: str) -> str:
    return moment(hour).strftime(spelling)


def _values(currency: str, counts: Sequence[int]) -> tuple[Any, ...]:
    """In the order of a report's columns; money is the last that is counted."""
    *others, nanos, attos = counts
    cost = spell(joined(nanos, attos)) if currency else None
    return (*others, cost, currency or None)
