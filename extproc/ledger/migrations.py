"""What leads from one version of the ledger's tables to the next. New databases are made by ``schema``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Connection, delete, func, select

from extproc.ledger.periods import DAY
from extproc.ledger.schema import DAYS, HOURS, MONTHS
from extproc.ledger.sums import add_hours

Step = Callable[[Connection], None]
"""In a transaction of its own with all others that are due."""


def _sum_up_months(connection: Connection) -> None:
    """There were hours and days; of the oldest day, retention had dropped all or nothing."""
    MONTHS.create(connection)
    first, last = connection.execute(select(func.min(HOURS.c.hour), func.max(HOURS.c.hour))).one()
    if first is None:
        return
    add_hours(connection, MONTHS, first, last + 1)
    connection.execute(delete(DAYS).where(DAYS.c.hour == DAY.begin(first)))
    add_hours(connection, DAYS, first, min(DAY.after(first), last + 1))


MIGRATIONS: Final[Sequence[Step]] = (_sum_up_months,)
"""From version 1 to 2, from 2 to 3, and so on."""
