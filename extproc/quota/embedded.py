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
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from math import floor
from pathlib import Path
from typing import Final

import orjson

from extproc.admission.charge import Level, Line, Rate, Reserved, Settled, Settlement
from extproc.quota.counters import LARGEST, RATE, Counters, Place, Row, place, run_in
from extproc.quota.counters import SCHEMA as COUNTED
from extproc.quota.shares import EVERY, Shares
from extproc.quota.shares import SCHEMA as SHARED
from extproc.quota.store import StoreUnavailable
from extproc.quota.transaction import SharedTransaction

_START_SECONDS: Final = 5.0
_SOON: Final = 0.001
_GLANCE: Final = 0.000_2
_UNHURRIED: Final = 0.010
"""Seconds that settlements wait for a request to share its transaction; in it they are booked before it is judged.

About as long as it takes until the next request comes to a worker that has something to do.
"""
_MANY: Final = 16
"""Settlements in a batch after which the next does not wait for shares: more may be waiting than fit into one."""
_KEPT_AFTER: Final = 86_400.0
"""Seconds that a window's counters stay after its end: for requests that began in it and are not settled yet."""

_CALLS: Final = 3
"""Times that a request waits for others to give back what it lacks."""
_RETRY_SECONDS: Final = 0.2
_HANDED_OUT: Final = 60.0
"""Seconds within which a reservation is written by whoever has handed it out, or never."""

_SWEPT: Final = 2_000
"""Counters that are looked at in a second, for whether they are over: a millisecond's work."""
_REMEMBERED: Final = 8
"""Batches that are known again. Whoever sends one again does so before the next."""

_SCHEMA: Final = (
    COUNTED,
    *SHARED,
    "CREATE TABLE IF NOT EXISTS reservation (id TEXT PRIMARY KEY, expires REAL, lines BLOB) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS mark (mark TEXT PRIMARY KEY, until REAL) WITHOUT ROWID",
)
_MARK: Final = "INSERT OR IGNORE INTO mark (mark, until) VALUES (?, ?)"
_FORGET_MARKS: Final = "DELETE FROM mark WHERE until < ?"
_KEEP: Final = "INSERT INTO reservation (id, expires, lines) VALUES (?, ?, ?)"
_CLOSE: Final = "DELETE FROM reservation WHERE id = ? AND lines IS NOT NULL"
_FORGET: Final = "DELETE FROM reservation WHERE id = ?"
_CLOSED: Final = "INSERT OR IGNORE INTO reservation (id, expires, lines) VALUES (?, ?, NULL)"
"""Word for whoever has handed it out by itself, and writes it later than it is settled elsewhere."""
_EXPIRED: Final = "SELECT id, lines FROM reservation WHERE expires <= ?"


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
        self._counters = Counters(self._database)
        self._booking: list[str] = []
        self._booked: deque[str] = deque(maxlen=_REMEMBERED)
        self._shares = Shares(self._database, self._counters, free=self._free_now, hold=self._take)
        self._shared = SharedTransaction(self._database, path, begin=self._begin, end=self._end, ended=self._ended)
        self._again: asyncio.TimerHandle | None = None
        self._is_behind = False

    def now(self) -> float:
        """See QuotaStore."""
        return self._clock()

    async def reserve(self, reservation: str, lines: Sequence[Line], *, lasts: float) -> Reserved:
        """See QuotaStore."""
        for _ in range(_CALLS):
            reserved, comes_back = await self._ask(reservation, lines, lasts)
            if not comes_back:
                return reserved
            await asyncio.sleep(EVERY)
        reserved, _ = await self._ask(reservation, lines, lasts)
        return reserved

    def reserve_here(self, reservation: str, lines: Sequence[Line], *, lasts: float) -> Reserved | None:
        """See QuotaStore."""
        return self._shares.take(reservation, lines, lasts=lasts, now=self._clock())

    def settle_here(self, settlement: Settlement) -> bool:
        """See QuotaStore."""
        if self._shares.settle(settlement):
            return True
        if not self._shares.covers(settlement):
            self._shared.begin_within(_UNHURRIED)
        return False

    def settle(self, batch: str, settlements: Sequence[Settlement]) -> Awaitable[None]:
        """See QuotaStore."""
        within = EVERY if self._shares and not self._is_behind else _UNHURRIED
        return self._shared.do(lambda: self._book(batch, settlements), within=within)

    async def first(self, mark: str, *, until: float | None) -> bool:
        """See QuotaStore."""
        return await self._shared.do(lambda: self._database.execute(_MARK, (mark, until)).rowcount == 1)

    async def tend(self) -> None:
        """Forget what is over, and bring what was written into the file proper."""
        await self._shared.do(self._forget)
        await asyncio.to_thread(self._checkpoint)

    async def close(self) -> None:
        """See QuotaStore."""
        self._shares.close()
        try:
            if self._shares:
                with contextlib.suppress(StoreUnavailable):
                    await self._shared.do(_nothing)
        finally:
            if self._again is not None:
                self._again.cancel()
            self._database.close()

    def _checkpoint(self) -> None:
        with contextlib.closing(_open(self._path)) as database:
            try:
                database.execute("PRAGMA wal_checkpoint(PASSIVE)")
            except sqlite3.OperationalError as error:
                # Another process is at it.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise

    def _begin(self) -> None:
        self._shares.begin(self._clock())

    def _end(self) -> None:
        self._shares.hand_out(self._clock(), asyncio.get_running_loop().time())
        self._counters.write()

    def _ended(self, *, done: bool) -> None:
        loop = asyncio.get_running_loop()
        self._counters.ended(done=done)
        self._shares.ended(loop.time(), done=done)
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._shares:
            self._again = loop.call_later(EVERY, self._see_to_shares)
        if done:
            self._booked.extend(self._booking)
        self._booking.clear()

    def _see_to_shares(self) -> None:
        """Give back what is left of them, and take what is needed from now on; while that fails, again and again."""
        self._again = None
        self._shared.do(_nothing).add_done_callback(self._seen_to)

    def _seen_to(self, answer: asyncio.Future[None]) -> None:
        failed = not answer.cancelled() and answer.exception() is not None
        if failed and self._again is None and not self._shares.is_closed:
            self._again = asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._see_to_shares)

    def _ask(self, reservation: str, lines: Sequence[Line], lasts: float) -> Awaitable[tuple[Reserved, bool]]:
        return self._shared.do(lambda: self._reserve(reservation, lines, lasts))

    def _reserve(self, reservation: str, lines: Sequence[Line], lasts: float) -> tuple[Reserved, bool]:
        """Also whether it is worth asking again soon: whether others have been asked to give back what is lacking."""
        now = self._clock()
        places = [place(line) for line in lines]
        looks = [self._free(line, row, now) for line, row in zip(lines, self._counters.rows(places), strict=True)]
        lacks = [
            (line, min(line.amount, LARGEST) - free)
            for (free, wait), line in zip(looks, lines, strict=True)
            if wait != 0 and line.enforced
        ]
        granted = not lacks
        levels, held = [], []
        for (free, wait), line, where in zip(looks, lines, places, strict=True):
            shown = self._shares.shown(floor(free), line, where, now)
            # What refuses nobody need not be called back before it is taken.
            fits = wait == 0 or (not line.enforced and line.amount <= shown)
            taken = granted and fits
            left = shown if fits else floor(free)
            levels.append(Level(left - line.amount if taken else left, taken, 0.0 if fits else wait))
            if taken and self._take(line, where, now + lasts, now) and line.amount:
                held.append((*where, line.amount))
        if held:
            self._database.execute(_KEEP, (reservation, now + lasts, orjson.dumps(held)))
        return Reserved(granted, tuple(levels)), bool(lacks) and self._shares.call_back(lacks, now)

    def _free_now(self, line: Line, now: float) -> int:
        (row,) = self._counters.rows([place(line)])
        return floor(self._free(line, row, now)[0])

    def _free(self, line: Line, row: Row | None, now: float) -> tuple[float, float | None]:
        """What is left of a counter, with the fractions of a rate, and how long to wait for more, as in Level."""
        amount, measure = line.amount, line.measure
        if isinstance(measure, Rate):
            free = float(measure.capacity)
            if row is not None:
                free -= run_in(row, measure, now)
            if amount <= free:
                return free, 0.0
            return free, (amount - free) / measure.per_second if amount <= measure.capacity else None
        counted = 0 if row is None else row.used + row.held
        if measure.first != measure.slot:
            counted += self._counters.rest(measure, line.counter)
        free = measure.limit - counted
        if amount <= free:
            return free, 0.0
        return free, None if measure.ends is None else max(_SOON, measure.ends - now)

    def _take(self, line: Line, where: Place, until: float, now: float) -> bool:
        """Whether it has to be given back."""
        row, measure = self._counters.to_change(where), line.measure
        if isinstance(measure, Rate):
            row.used += line.amount
            row.at = now
            row.until = until + measure.capacity / measure.per_second
            return False
        row.held += line.amount
        row.until = None if measure.until is None else measure.until + _KEPT_AFTER
        return True

    def _book(self, batch: str, settlements: Sequence[Settlement]) -> None:
        if batch in self._booked or batch in self._booking:
            return
        self._booking.append(batch)
        self._is_behind = len(settlements) >= _MANY
        for settlement in settlements:
            holds = True
            if settlement.closes:
                holds = self._database.execute(_CLOSE, (settlement.reservation,)).rowcount == 1
                if not holds:
                    self._leave_word(settlement)
            self._settle(settlement.lines, holds=holds)

    def _leave_word(self, settlement: Settlement) -> None:
        """For whoever has handed out a reservation that is settled sooner than it is written."""
        now = self._clock()
        gives_back = any(line.held and line.slot is not None for line in settlement.lines)
        if gives_back and self._shares.may_be_unwritten(now):
            self._database.execute(_CLOSED, (settlement.reservation, now + _HANDED_OUT))

    def _settle(self, lines: Sequence[Settled], *, holds: bool) -> None:
        """What nobody keeps any more is left so."""
        places = [(line.counter, RATE if line.slot is None else line.slot) for line in lines]
        for where, line, known in zip(places, lines, self._counters.rows(places), strict=True):
            if known is None:
                continue
            row = self._counters.to_change(where)
            used = min(line.used, LARGEST)
            if line.slot is None:
                row.used = min(row.used + used - line.held, LARGEST)
            else:
                row.used = min(row.used + used, LARGEST)
                row.held -= line.held if holds else 0

    def _forget(self) -> None:
        """What is over; what reservations hold whose time is over is given back before."""
        now = self._clock()
        for identity, lines in self._database.execute(_EXPIRED, (now,)).fetchall():
            held = [Settled(counter, slot, amount, 0) for counter, slot, amount in orjson.loads(lines or b"[]")]
            self._settle(held, holds=True)
            self._database.execute(_FORGET, (identity,))
        self._settle(self._shares.expired(now), holds=True)
        self._shares.forget(now)
        self._counters.sweep(now, _SWEPT)
        self._database.execute(_FORGET_MARKS, (now,))


def _nothing() -> None:
    """A transaction of its own."""


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
    for statement in _SCHEMA:
        database.execute(statement)
    database.execute("COMMIT")
