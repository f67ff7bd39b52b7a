"""What is older than it may be goes: a month at once where there are partitions, else in small steps."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import Connection, Table, delete, select, text

from extproc.ledger.booking import month_after
from extproc.ledger.database import Database
from extproc.ledger.schema import PARTITIONED
from extproc.ledger.sums import forget_hours

_STEP: Final = 5_000
_DAY_MS: Final = 86_400_000
_HOURS: Final = 24
_PARTITION: Final = re.compile(r"[a-z]+_([0-9]{4})_([0-9]{2})")


def oldest_kept_ms(now: float, days: int) -> int:
    """The end of the oldest record that may stay. ``now`` is Unix seconds."""
    return int(now * 1_000) - days * _DAY_MS


def forget(database: Database, *, now: float, days: int, summary_days: int) -> int:
    """Delete what is too old, and tell how many rows that were; those of dropped partitions are not counted."""
    cutoff = oldest_kept_ms(now, days)
    if not database.embedded:
        with database.writing() as connection:
            _drop_partitions(connection, cutoff)
    deleted = 0
    for table in PARTITIONED:
        deleted += _delete_in_steps(database, table, cutoff)
    with database.writing() as connection:
        deleted += forget_hours(connection, int(now // 3_600) - summary_days * _HOURS)
    return deleted


def _delete_in_steps(database: Database, table: Table, cutoff: int) -> int:
    """Each step is a transaction of its own: nobody waits long for it."""
    some = select(table.c.exchange).where(table.c.ended_ms < cutoff).limit(_STEP)
    statement = delete(table).where(table.c.exchange.in_(some), table.c.ended_ms < cutoff)
    total = 0
    while True:
        with database.writing() as connection:
            deleted = connection.execute(statement).rowcount
        total += deleted
        if deleted < _STEP:
            return total


def _drop_partitions(connection: Connection, cutoff: int) -> None:
    for table in PARTITIONED:
        children = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST(:parent AS regclass)"
        for name in connection.execute(text(children), {"parent": table.name}).scalars().all():
            found = _PARTITION.fullmatch(name)
            if found and month_after(int(found[1]), int(found[2])) <= cutoff:
                connection.execute(text(f"DROP TABLE {name}"))
