"""The ledger's tables, the same for SQLite and PostgreSQL. Times are Unix milliseconds, hours are Unix hours, UTC.

``attempts`` and ``exchanges`` have a row for each, and are only ever added to. ``hours`` has the sums of an hour for
each combination of what they are asked by, ``days`` those of a day without users, of whom there may be as many as
requests, ``months`` those of a month with them: reports read nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, String, Table, Text

from extproc.ledger.columns import COUNTS, DIMENSIONS, TOKENS

METADATA: Final = MetaData()


def _described() -> list[Column[Any]]:
    """What attempts and exchanges have in common."""
    texts = (
        "request_id",
        "decision",
        "decision_reason",
        *(name for name in DIMENSIONS if name not in {"outcome", "currency"}),
    )
    return [
        *(Column(name, Text) for name in texts),
        Column("stream", Boolean),
        Column("status", Integer),
        Column("outcome", Text, nullable=False),
        Column("usage_source", Text),
        *(Column(name, BigInteger) for name in TOKENS),
        Column("cost", Text),  # a decimal, to its last digit
        Column("currency", Text),
        Column("first_token_ms", Double),
        Column("duration_ms", Double),
    ]


# In PostgreSQL one partition a month, so that what is too old is dropped and not deleted row by row.
ATTEMPTS: Final = Table(
    "attempts",
    METADATA,
    Column("exchange", String(32), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("ended_ms", BigInteger, primary_key=True, autoincrement=False),
    *_described(),
    Column("tries", Integer),
    Index("attempts_by_time", "ended_ms"),
    postgresql_partition_by="RANGE (ended_ms)",
)
EXCHANGES: Final = Table(
    "exchanges",
    METADATA,
    Column("exchange", String(32), primary_key=True),
    Column("ended_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("attempts", Integer, nullable=False),
    *_described(),
    Index("exchanges_by_time", "ended_ms"),
    postgresql_partition_by="RANGE (ended_ms)",
)


def _sums(name: str, dimensions: Sequence[str]) -> Table:
    """``hour`` is the first of the time that a row sums up."""
    return Table(
        name,
        METADATA,
        Column("id", String(40), primary_key=True),
        Column("hour", Integer, nullable=False),
        *(Column(dimension, Text, nullable=False) for dimension in dimensions),  # unknown is empty
        *(Column(count, BigInteger, nullable=False) for count in COUNTS),
        Index(f"{name}_by_hour", "hour", "currency"),  # as reports by the hour want them, without sorting
    )


HOURS: Final = _sums("hours", DIMENSIONS)
DAYS: Final = _sums("days", [name for name in DIMENSIONS if name != "user"])
MONTHS: Final = _sums("months", DIMENSIONS)
VERSION: Final = Table("ledger_version", METADATA, Column("version", Integer, nullable=False))

PARTITIONED: Final = (ATTEMPTS, EXCHANGES)
