"""The counters of a transaction: each is written once, however many requests in it share the counter, and read only if

another process has written meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from extproc.admission.charge import Line, Rate, Window

RATE: Final = -1
"""The slot of a rate, which has only the one."""
LARGEST: Final = 2**63 - 1
"""What SQLite can hold. What would pass it stays there: all is used up either way."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS counted (
    counter TEXT, slot INTEGER, used NUMERIC, held INTEGER, at REAL, until REAL, PRIMARY KEY (counter, slot)
) WITHOUT ROWID
"""
_READ: Final = """
WITH wanted (name, part) AS (VALUES {})
SELECT counter, slot, used, held, at, until FROM wanted CROSS JOIN counted ON counter = name AND slot = part
"""
_READ_REST: Final = "SELECT used, held FROM counted WHERE counter = ? AND slot >= ? AND slot <> ?"
_ADD: Final = "INSERT INTO counted (used, held, at, until, counter, slot) VALUES (?, ?, ?, ?, ?, ?)"
_CHANGE: Final = "UPDATE counted SET used = ?, held = ?, at = ?, until = ? WHERE counter = ? AND slot = ?"
_FOLLOWING: Final = """
SELECT counter, slot, until FROM counted WHERE (counter, slot) > (?, ?) ORDER BY counter, slot LIMIT ?
"""
_VERSION: Final = "PRAGMA data_version"
"""Another number whenever somebody else has written: https://www.sqlite.org/pragma.html#pragma_data_version"""
_DELETE: Final = "DELETE FROM counted WHERE counter = ? AND slot = ?"

Place = tuple[str, int]
"""A counter and its slot."""
_START: Final[Place] = ("", RATE)
_MOST_KNOWN: Final = 10_000


class Row:
    """Of a window: what its slot has used and holds. Of a rate: ``used`` is what lacks to its capacity, at ``at``."""

    __slots__ = ("at", "held", "until", "used")

    def __init__(self, used: float, held: int, at: float | None, until: float | None) -> None:
        self.used = used
        self.held = held
        self.at = at
        self.until = until


def place(line: Line) -> Place:
    """Where a line is counted."""
    measure = line.measure
    return line.counter, measure.slot if isinstance(measure, Window) else RATE


def run_in(row: Row, rate: Rate, now: float) -> float:
    """What lacks to a rate's capacity still, by now."""
    if row.at is not None and row.at < now:
        row.used = max(0.0, row.used - (now - row.at) * rate.per_second)
        row.at = now
    return row.used


class Counters:
    """Used inside transactions alone: ``write`` before one is committed, ``ended`` after it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._rows: dict[Place, Row | None] = {}
        self._changed: dict[Place, Row] = {}
        self._added: dict[Place, Row] = {}
        self._version = -1
        self._is_current = False
        self._next = _START

    def rows(self, places: Sequence[Place]) -> list[Row | None]:
        """As they are now; None for what nobody has counted yet."""
        if not self._is_current:
            self._compare()
        known = self._rows
        lacking = [one for one in places if one not in known]
        if lacking:
            known.update(dict.fromkeys(lacking))
            flat = [part for one in lacking for part in one]
            for counter, slot, used, held, at, until in self._database.execute(_reading(len(lacking)), flat):
                known[counter, slot] = Row(used, held, at, until)
        return [known[one] for one in places]

    def rest(self, window: Window, counter: str) -> int:
        """What the window's other slots have used and hold."""
        self.write()
        found = self._database.execute(_READ_REST, (counter, window.first, window.slot))
        return sum([used + held for used, held in found])

    def to_change(self, where: Place) -> Row:
        """A row that has been asked for before, to be written as it will be then."""
        row = self._rows[where]
        if row is None:
            row = self._rows[where] = self._added[where] = Row(0, 0, None, None)
        elif where not in self._added:
            self._changed[where] = row
        return row

    def write(self) -> None:
        """What has changed."""
        # What is there already is changed in place: replacing it would be half as much again.
        for statement, rows in ((_ADD, self._added), (_CHANGE, self._changed)):
            if rows:
                values = [(row.used, row.held, row.at, row.until, *where) for where, row in rows.items()]
                self._database.executemany(statement, values)
                rows.clear()

    def ended(self, *, done: bool) -> None:
        """Others may write from now on. Not ``done``: what was to be written is not so."""
        self._is_current = False
        if not done:
            self._rows.clear()
            self._changed.clear()
            self._added.clear()

    def sweep(self, now: float, most: int) -> None:
        """Delete what is over of the next ``most`` rows: of all, in as many calls as that takes."""
        self.write()
        self._rows.clear()
        found: Iterable[tuple[str, int, float | None]] = self._database.execute(_FOLLOWING, (*self._next, most))
        seen = list(found)
        over = [(counter, slot) for counter, slot, until in seen if until is not None and until < now]
        self._database.executemany(_DELETE, over)
        self._next = seen[-1][:2] if len(seen) == most else _START

    def _compare(self) -> None:
        (version,) = self._database.execute(_VERSION).fetchone()
        if version != self._version or len(self._rows) > _MOST_KNOWN:
            self._rows.clear()
        self._version = version
        self._is_current = True


@lru_cache(maxsize=64)
def _reading(count: int) -> str:
    return _READ.format(", ".join(["(?, ?)"] * count))
