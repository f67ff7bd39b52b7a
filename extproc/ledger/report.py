"""Answers from the hourly sums: what was used and what it cost, by whatever somebody wants to tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, Table, case, func, literal_column, select
from sqlalchemy.exc import SQLAlchemyError

from extproc.ledger.booking import month_after
from extproc.ledger.columns import COUNTS, MONEY, TIMES
from extproc.ledger.database import Database, reason
from extproc.ledger.money import joined, spell
from extproc.ledger.question import LedgerUnavailable, Question
from extproc.ledger.schema import DAYS, HOURS

SUMS: Final = (*(name for name in COUNTS if name not in MONEY), "cost", "currency")
"""The columns of a report, after those it is by."""

_HOUR_SECONDS: Final = 3_600
_HOUR_MS: Final = 3_600_000
_DAY_HOURS: Final = 24
_UNPRICED: Final = ""


def report(database: Database, question: Question) -> list[dict[str, Any]]:
    """A row for each combination, in order; ``cost`` is a decimal as text, None where nothing had a price.

    Raises LedgerUnavailable.
    """
    try:
        if not database.exists():
            return []
        with database.reading() as connection:
            rows = connection.execute(_statement(question, connection)).all()
    except SQLAlchemyError as error:
        raise LedgerUnavailable(f"the ledger {database.name} cannot be read: {reason(error)}") from error
    return _folded(rows, question.by)


def _statement(question: Question, connection: Connection) -> Select[Any]:
    table = _table_for(question)
    hour = table.c.hour
    asked: list[ColumnElement[bool]] = [table.c[name] == value for name, value in question.where.items()]
    if question.since is not None:
        asked.append(hour >= question.since)
    if question.until is not None:
        asked.append(hour < question.until)
    group: list[ColumnElement[Any]] = [table.c[name] for name in question.by if name not in TIMES]
    group.append(table.c.currency)
    if "hour" in question.by:
        group.append(hour.label("time"))
    elif "day" in question.by:
        group.append((hour - hour % _DAY_HOURS).label("time"))
    elif "month" in question.by:
        first, last = connection.execute(select(func.min(hour), func.max(hour)).where(*asked)).one()
        group.append(_month_of(hour, first or 0, last or 0).label("time"))
    sums = (func.sum(table.c[name]).label(name) for name in COUNTS)
    return select(*group, *sums).where(*asked).group_by(*group)


def _month_of(hour: ColumnElement[int], first: int, last: int) -> ColumnElement[int]:
    """The first hour of the month that an hour lies in. SQLite and PostgreSQL have no function in common for that."""
    return case(*((hour < end, literal_column(str(begin))) for begin, end in _months(first, last)))


def _months(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Where each of the months begins and ends that hours from the first to the last lie in."""
    begin = first
    while begin <= last:
        day = datetime.fromtimestamp(begin * _HOUR_SECONDS, UTC)
        end = month_after(day.year, day.month) // _HOUR_MS
        yield begin, end
        begin = end


def _table_for(question: Question) -> Table:
    """The smallest that knows."""
    needed = {*question.by, *question.where}
    whole_days = all((hour or 0) % _DAY_HOURS == 0 for hour in (question.since, question.until))
    return DAYS if whole_days and not needed & {"hour", "user"} else HOURS


def _folded(rows: Iterable[Sequence[Any]], by: tuple[str, ...]) -> list[dict[str, Any]]:
    """Hours get their names, and those that a day or a month has several of become one.

    There may be a hundred thousand of them: they are taken by place, which is as in ``_statement``.
    """
    names = [name for name in by if name not in TIMES]
    currency_at = len(names)
    counts_at = currency_at + (1 if len(names) == len(by) else 2)
    places = [(counts_at - 1, TIMES[name]) if name in TIMES else (names.index(name), None) for name in by]
    folded: dict[tuple[str, ...], dict[str, list[int]]] = {}
    for row in rows:
        identity = tuple([row[at] if spelling is None else _spelled(row[at], spelling) for at, spelling in places])
        _add(folded.setdefault(identity, {}), row[currency_at], [int(count) for count in row[counts_at:]])
    for currencies in folded.values():
        _take_in_the_unpriced(currencies)
    columns = (*by, *SUMS)
    return [
        dict(zip(columns, _values(identity, currency, folded[identity][currency]), strict=True))
        for identity in sorted(folded)
        for currency in sorted(folded[identity])
    ]


def _take_in_the_unpriced(currencies: dict[str, list[int]]) -> None:
    """What had no price stands in a row of its own only where there are several currencies, or none."""
    if _UNPRICED in currencies and len(currencies) == 2:
        unpriced = currencies.pop(_UNPRICED)
        (only,) = currencies
        _add(currencies, only, unpriced)


def _add(currencies: dict[str, list[int]], currency: str, more: list[int]) -> None:
    counts = currencies.get(currency)
    currencies[currency] = more if counts is None else [one + other for one, other in zip(counts, more, strict=True)]


@lru_cache(maxsize=4_096)
def _spelled(hour: int, spelling: str) -> str:
    return datetime.fromtimestamp(hour * _HOUR_SECONDS, UTC).strftime(spelling)


def _values(identity: tuple[str, ...], currency: str, counts: Sequence[int]) -> tuple[Any, ...]:
    """In the order of a report's columns; money is the last that is counted."""
    *others, nanos, attos = counts
    cost = spell(joined(nanos, attos)) if currency else None
    return (*(value or None for value in identity), *others, cost, currency or None)
