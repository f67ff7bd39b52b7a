"""The store without a server: one SQLite file that the workers of a host share, in WAL mode.

A transaction is less than 0.1 ms of work on pages in memory, so that it is done on the event loop: handing it to a
thread and back would take longer. Half of that is its beginning and its end, so all that is asked for in one turn of
the loop shares one, and settlements wait a moment for the next request. What could take long does not happen there:
the file is synced by ``tend``, in a thread, and when another process has the lock, the event loop goes on and looks
again.

``synchronous = NORMAL``: a commit is not synced. It outlives the death of every process; those of the last second may
be lost with the host's power, whole and in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from extproc.admission.charge import Level, Line, Rate, Reserved, Settlement
from extproc.quota.store import StoreUnavailable
from extproc.quota.transaction import SharedTransaction

_START_SECONDS: Final = 5.0
_SOON: Final = 0.001
_GLANCE: Final = 0.000_2
_REMEMBERED: Final = 600.0
"""Seconds in which a batch of settlements is known again."""
_UNHURRIED: Final = 0.002
"""Seconds that settlements wait for a request to share its transaction; in it they are booked before it is judged."""
_KEPT_AFTER: Final = 86_400.0
"""Seconds that a window's counters stay after its end: for requests that began in it and are not settled yet."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS bucket (counter TEXT PRIMARY KEY, level REAL, at REAL, until REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (
    counter TEXT, slot INTEGER, used INTEGER, held INTEGER, until REAL, PRIMARY KEY (counter, slot)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reservation (id TEXT PRIMARY KEY, expires REAL, lines BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mark (mark TEXT PRIMARY KEY, until REAL) WITHOUT ROWID;
"""
_READ_BUCKET: Final = "SELECT level, at FROM bucket WHERE counter = ?"
_WRITE_BUCKET: Final = "REPLACE INTO bucket (counter, level, at, until) VALUES (?, ?, ?, ?)"
_TAKE_FROM_BUCKET: Final = "UPDATE bucket SET level = level - ? WHERE counter = ?"
_READ_SPENT: Final = "SELECT coalesce(sum(used + held), 0) FROM spent WHERE counter = ? AND slot >= ?"
_HOLD: Final = """
INSERT INTO spent (counter, slot, used, held, until) VALUES (?, ?, 0, ?, ?)
ON CONFLICT (counter, slot) DO UPDATE SET held = held + excluded.held, until = excluded.until
"""
_SETTLE: Final = "UPDATE spent SET used = used + ?, held = held - ? WHERE counter = ? AND slot = ?"
_MARK: Final = "INSERT OR IGNORE INTO mark (mark, until) VALUES (?, ?)"
_EXPIRED: Final = "SELECT id, lines FROM reservation WHERE expires <= ?"
_FORGET: Final = (
    "DELETE FROM bucket WHERE counter IN (SELECT counter FROM bucket WHERE until < ? LIMIT 500)",
    "DELETE FROM spent WHERE until < ?",
    "DELETE FROM mark WHERE until < ?",
)


class EmbeddedStore:
    """``clock`` gives Unix seconds. Raises StoreUnavailable when the file cannot be used."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        try:
            self._database = _open(path)
            _prepared(self._database)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{path}: {error}") from error
        self._shared = SharedTransaction(self._database, path)

    def now(self) -> float:
        """See QuotaStore."""
        return self._clock()

    async def reserve(self, reservation: str, lines: Sequence[Line], *, lasts: float) -> Reserved:
        """See QuotaStore."""
        return await self._shared.do(lambda: self._reserve(reservation, lines, lasts))

    async def settle(self, batch: str, settlements: Sequence[Settlement]) -> None:
        """See QuotaStore."""
        booked = tuple(settlements)
        await self._shared.do(lambda: self._book(batch, booked), within=_UNHURRIED)

    async def first(self, mark: str, *, until: float | None) -> bool:
        """See QuotaStore."""
        return await self._shared.do(lambda: self._database.execute(_MARK, (mark, until)).rowcount == 1)

    async def tend(self) -> None:
        """Forget what is over, and bring what was written into the file proper."""
        await self._shared.do(self._forget)
        await asyncio.to_thread(self._checkpoint)

    async def close(self) -> None:
        """See QuotaStore."""
        self._database.close()

    def _checkpoint(self) -> None:
        with contextlib.closing(_open(self._path)) as database:
            database.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _reserve(self, reservation: str, lines: Sequence[Line], lasts: float) -> Reserved:
        database, now = self._database, self._clock()
        found = [_look(database, line, now) for line in lines]
        granted = all(one.fits or not line.enforced for one, line in zip(found, lines, strict=True))
        if granted:
            _take(database, reservation, zip(lines, found, strict=True), now=now, lasts=lasts)
        levels = [_level(one, line, granted=granted) for one, line in zip(found, lines, strict=True)]
        return Reserved(granted=granted, levels=tuple(levels))

    def _book(self, batch: str, settlements: Sequence[Settlement]) -> None:
        if self._database.execute(_MARK, (f"batch:{batch}", self._clock() + _REMEMBERED)).rowcount == 1:
            for settlement in settlements:
                self._settle(self._database, settlement)

    def _forget(self) -> None:
        now = self._clock()
        self._sweep(self._database, now)
        for statement in _FORGET:
            self._database.execute(statement, (now,))

    def _settle(self, database: sqlite3.Connection, settlement: Settlement) -> None:
        holds = True
        if settlement.closes:
            done = database.execute("DELETE FROM reservation WHERE id = ?", (settlement.reservation,))
            holds = done.rowcount == 1
        for line in settlement.lines:
            if line.slot is None:
                database.execute(_TAKE_FROM_BUCKET, (line.used - line.held, line.counter))
            else:
                held = line.held if holds else 0
                database.execute(_SETTLE, (line.used, held, line.counter, line.slot))

    def _sweep(self, database: sqlite3.Connection, now: float) -> None:
        """Give back what reservations hold whose time is over."""
        for identity, lines in database.execute(_EXPIRED, (now,)).fetchall():
            for counter, slot, held in orjson.loads(lines):
                database.execute(_SETTLE, (0, held, counter, slot))
            database.execute("DELETE FROM reservation WHERE id = ?", (identity,))


class _Found(NamedTuple):
    """A counter before anything is taken from it: ``free`` has the fractions of a rate, ``wait`` is as in Level."""

    free: float
    fits: bool
    wait: float | None


def _look(database: sqlite3.Connection, line: Line, now: float) -> _Found:
    measure = line.measure
    if isinstance(measure, Rate):
        row = database.execute(_READ_BUCKET, (line.counter,)).fetchone()
        level = float(measure.capacity)
        if row is not None:
            level = min(level, row[0] + max(0.0, now - row[1]) * measure.per_second)
        wait = max(0.0, (line.amount - level) / measure.per_second) if line.amount <= measure.capacity else None
        return _Found(level, line.amount <= level, wait)
    (counted,) = database.execute(_READ_SPENT, (line.counter, measure.first)).fetchone()
    free = measure.limit - counted
    if line.amount <= free:
        return _Found(free, fits=True, wait=0.0)
    return _Found(free, fits=False, wait=None if measure.ends is None else max(_SOON, measure.ends - now))


def _take(
    database: sqlite3.Connection, reservation: str, found: Iterable[tuple[Line, _Found]], *, now: float, lasts: float
) -> None:
    held = []
    for line, one in found:
        if not one.fits:
            continue
        measure = line.measure
        if isinstance(measure, Rate):
            until = now + measure.capacity / measure.per_second + lasts
            database.execute(_WRITE_BUCKET, (line.counter, one.free - line.amount, now, until))
        else:
            kept = None if measure.until is None else measure.until + _KEPT_AFTER
            database.execute(_HOLD, (line.counter, measure.slot, line.amount, kept))
            held.append((line.counter, measure.slot, line.amount))
    if held:
        row = (reservation, now + lasts, orjson.dumps(held))
        database.execute("INSERT INTO reservation (id, expires, lines) VALUES (?, ?, ?)", row)


def _level(found: _Found, line: Line, *, granted: bool) -> Level:
    taken = granted and found.fits
    return Level(free=math.floor(found.free) - (line.amount if taken else 0), taken=taken, wait=found.wait)


def _open(path: Path) -> sqlite3.Connection:
    # The deadline of a busy file is ours to keep, see SharedTransaction.
    database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA wal_autocheckpoint = 0")
    return database


def _prepared(database: sqlite3.Connection) -> None:
    """Several workers do this at once, in the first second of a gateway's life; whoever comes second waits.

    Changing the journal's mode does not wait by itself: https://www.sqlite.org/c3ref/busy_timeout.html
    """
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            _prepare(database)
        except sqlite3.OperationalError:
            if database.in_transaction:
                database.execute("ROLLBACK")
            if time.monotonic() > deadline:
                raise
            time.sleep(_GLANCE)
        else:
            return


def _prepare(database: sqlite3.Connection) -> None:
    # Few rows change in a transaction, and whole pages are written for them.
    database.execute("PRAGMA page_size = 1024")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA.split(";"):
        database.execute(statement)
    database.execute("COMMIT")
