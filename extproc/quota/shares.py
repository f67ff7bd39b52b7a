"""What a process may hand out without asking: shares of the counters that it takes from again and again.

A transaction for every request costs more than all else that counting does, most of it because SQLite's code and pages
have left the processor's caches when the next request comes. So a transaction leaves some of what is free with the
process, as much as it is likely to need until the next one, which is soon: there what was left over is given back, what
was handed out is written as if each request had been there itself, and new shares are taken.

Nothing is handed out twice, for a share is held in the database like a reservation. Near the end of what is free there
are no shares, and every request has a transaction of its own; whoever lacks what others' shares hold calls those back
before a request is refused.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import orjson

from extproc.admission.charge import Level, Line, Rate, Reserved, Settled, Settlement, Window
from extproc.quota.counters import LARGEST, RATE, Counters, Place, place, run_in

EVERY: Final = 0.05
"""Seconds between the transactions of a process that has shares."""
_SHORTEST: Final = 0.005
"""Seconds that a pace is told from, at least."""
_AHEAD: Final = 2
"""Shares are for so much of the time until the next transaction: a pace changes."""
_FEWEST: Final = 4
"""Requests. What is not asked for as often has no share."""
_PART: Final = 8
"""A share is this part of what is free at most."""
_CALLED_BACK: Final = 1.0
"""Seconds in which nobody takes a share of what was called back."""
_AWAKE: Final = 10 * EVERY
"""Seconds after which a share that was not seen to is a dead process's, and does not come back when it is called."""
_TAKEN: Final = True

SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS share (owner TEXT PRIMARY KEY, expires REAL, seen REAL, lines BLOB) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS called_back (counter TEXT PRIMARY KEY, until REAL) WITHOUT ROWID",
)
_KEEP: Final = "INSERT INTO share (owner, expires, seen, lines) VALUES (?, ?, ?, ?)"
_DROP: Final = "DELETE FROM share WHERE owner = ?"
_OTHERS: Final = "SELECT seen, lines FROM share WHERE owner <> ?"
_EXPIRED: Final = "SELECT owner, lines FROM share WHERE expires <= ?"
_CALL: Final = "INSERT OR REPLACE INTO called_back (counter, until) VALUES (?, ?)"
_CALLED: Final = "SELECT counter FROM called_back WHERE until > ? AND until <= ?"
_FORGET: Final = "DELETE FROM called_back WHERE until <= ?"
_RESERVE: Final = "INSERT OR IGNORE INTO reservation (id, expires, lines) VALUES (?, ?, ?)"
_FORGET_CLOSED: Final = "DELETE FROM reservation WHERE id = ? AND lines IS NULL"


class _Share:
    """Of one counter. ``left`` of what was ``granted``; ``free`` is what the whole counter has left, as is shown.

    ``taken`` was handed out of it, and ``used`` is what ended requests have used of a window.
    """

    __slots__ = ("free", "granted", "left", "line", "measure", "place", "taken", "used")

    def __init__(self, line: Line, granted: int, free: int) -> None:
        self.line = line
        self.measure = line.measure
        self.place: Place = place(line)
        self.granted = self.left = granted
        self.free = free
        self.taken = self.used = 0


class Shares:
    """Of one process. ``take`` and ``settle`` work on them; the others are steps of a transaction, in their order.

    ``free`` tells what is left of a counter, ``hold`` takes a line's amount, until a time: both within a transaction.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        counters: Counters,
        *,
        free: Callable[[Line, float], int],
        hold: Callable[[Line, Place, float, float], object],
    ) -> None:
        self._database = database
        self._counters = counters
        self._owner = secrets.token_hex(8)
        self._free = free
        self._hold = hold
        self._shares: dict[str, _Share] = {}
        self._following: dict[str, _Share] = {}
        self._open: dict[str, Sequence[Line]] = {}
        """Reservations that no transaction has written yet."""
        self._lacking: dict[str, tuple[Line, int]] = {}
        """What was asked for in vain since the last transaction, by counter."""
        self._others: dict[Place, int] | None = None
        self._are_others = False
        self._lasts = 0.0
        self._since = 0.0
        self._until = self._following_until = 0.0
        """After that, they may be somebody else's."""
        self.is_closed = False

    def __bool__(self) -> bool:
        return bool(self._shares)

    def take(self, reservation: str, lines: Sequence[Line], *, lasts: float, now: float) -> Reserved | None:
        """Every line out of a share; None where one has none, or not enough left."""
        self._lasts = lasts
        shares = self._shares if now < self._until else {}
        levels: list[Level] = []
        for line in lines:
            counter, _, amount, measure, _, _ = line
            share = shares.get(counter)
            if share is None or share.left < amount or (share.measure is not measure and not _is_of(share, line)):
                self._put_back(lines[: len(levels)])
                self._note(lines)
                return None
            share.left -= amount
            share.taken += amount or 1
            share.free = free = share.free - amount
            levels.append(Level(free, _TAKEN, 0.0))
        self._open[reservation] = lines
        return Reserved(_TAKEN, tuple(levels))

    def _put_back(self, lines: Sequence[Line]) -> None:
        for counter, _, amount, _, _, _ in lines:
            share = self._shares[counter]
            share.left += amount
            share.taken -= amount or 1
            share.free += amount

    def covers(self, settlement: Settlement) -> bool:
        """Whether nobody waits for what it gives back: there are shares of all that it is of."""
        return all(line.counter in self._shares for line in settlement.lines)

    def settle(self, settlement: Settlement) -> bool:
        """Whether it was of a reservation that no transaction has written yet."""
        if settlement.reservation not in self._open:
            return False
        for counter, slot, held, used in settlement.lines:
            share = self._shares[counter]
            share.left += held - used
            share.free += held - used
            if slot is not None:
                share.used += used
        if settlement.closes:
            del self._open[settlement.reservation]
        return True

    def close(self) -> None:
        """The next transaction is the last, and nothing is handed out any more."""
        self.is_closed = True
        self._until = 0.0

    def begin(self, now: float) -> None:
        """Give them back, and write what was handed out."""
        if not self._shares:
            return
        # What was not seen to for as long as a reservation lasts has been given back by somebody, as all that it was
        # handed out to.
        is_there = self._database.execute(_DROP, (self._owner,)).rowcount == 1
        shares = self._shares.values()
        for share, row in zip(shares, self._counters.rows([share.place for share in shares]), strict=True):
            if row is None:
                continue
            changed = self._counters.to_change(share.place)
            if isinstance(share.measure, Rate):
                changed.used -= share.granted
                taken = min(share.granted - share.left, LARGEST)
                changed.used = min(max(0.0, run_in(changed, share.measure, now)) + taken, LARGEST)
            else:
                changed.used = min(changed.used + share.used, LARGEST)
                changed.held -= share.left + share.used if is_there else 0
        if is_there:
            self._write_open(now)

    def hand_out(self, now: float, moment: float) -> None:
        """Take those for the time until the next transaction. ``moment`` is the event loop's time."""
        wanted = self._wanted(moment - self._since)
        if not wanted or self.is_closed:
            return
        called_back = {counter for (counter,) in self._database.execute(_CALLED, (now, now + _CALLED_BACK))}
        until = self._following_until = now + self._lasts
        for counter, (line, most) in wanted.items():
            least = _FEWEST * (line.amount or 1)
            if most < least or counter in called_back:
                continue
            free = self._free(line, now)
            granted = min(most, free // _PART)
            if granted >= least:
                shown = self.shown(free, line, place(line), now)
                share = self._following[counter] = _Share(line, granted, shown)
                self._hold(line._replace(amount=granted), share.place, until, now)
        if self._following:
            lines = [(*share.place, share.granted) for share in self._following.values()]
            self._database.execute(_KEEP, (self._owner, until, now, orjson.dumps(lines)))

    def ended(self, moment: float, *, done: bool) -> None:
        """Not ``done``: all is as it was before."""
        if done:
            self._shares, self._until = self._following, self._following_until
            self._open = {}
            self._lacking = {}
            self._since = moment
        self._following = {}
        self._others = None

    def shown(self, free: int, line: Line, where: Place, now: float) -> int:
        """What is left of a counter, with what others have of it in shares: most of that they have not used."""
        largest = line.measure.capacity if isinstance(line.measure, Rate) else line.measure.limit
        return min(free + self._elsewhere(now).get(where, 0), largest)

    def may_be_unwritten(self, now: float) -> bool:
        """Whether others may have handed out a reservation that is not there, and write it later."""
        self._elsewhere(now)
        return self._are_others

    def call_back(self, lacks: Sequence[tuple[Line, float]], now: float) -> bool:
        """Whether others have what lacks in shares; they give it back in their next transactions."""
        shared: Counter[str] = Counter()
        for (counter, _), granted in self._elsewhere(now).items():
            shared[counter] += granted
        if any(shared[line.counter] < lack for line, lack in lacks):
            return False
        self._database.executemany(_CALL, [(line.counter, now + _CALLED_BACK) for line, _ in lacks])
        return True

    def forget(self, now: float) -> None:
        """What was called back long ago."""
        self._database.execute(_FORGET, (now,))

    def expired(self, now: float) -> list[Settled]:
        """What dead processes had, to be given back. A rate's part comes back by itself."""
        found = self._database.execute(_EXPIRED, (now,)).fetchall()
        self._database.executemany(_DROP, [(owner,) for owner, _ in found])
        parts = [part for _, lines in found for part in orjson.loads(lines)]
        return [Settled(counter, slot, granted, 0) for counter, slot, granted in parts if slot != RATE]

    def _elsewhere(self, now: float) -> dict[Place, int]:
        """What live others have, read once in a transaction."""
        if self._others is None:
            self._others, self._are_others = {}, False
            for seen, lines in self._database.execute(_OTHERS, (self._owner,)):
                self._are_others = True
                for counter, slot, granted in orjson.loads(lines) if seen > now - _AWAKE else ():
                    self._others[counter, slot] = self._others.get((counter, slot), 0) + granted
        return self._others

    def _note(self, lines: Sequence[Line]) -> None:
        lacking = self._lacking
        for line in lines:
            known = lacking.get(line.counter)
            # Whatever a client asks for: sums become floats.
            amount = min(line.amount, LARGEST) or 1
            lacking[line.counter] = (line, amount if known is None else amount + known[1])

    def _wanted(self, since: float) -> dict[str, tuple[Line, int]]:
        """By counter, what is expected to be asked for until the next transaction: a line of it, and how much in all.

        As much as of late, or what was expected before, which fades: a moment without requests says little.
        """
        ahead = _AHEAD * EVERY / max(since, _SHORTEST)
        fading = max(0.0, 1 - since / EVERY)
        wanted = {counter: (line, int(asked * ahead)) for counter, (line, asked) in self._lacking.items()}
        for counter, share in self._shares.items():
            line, more = wanted.get(counter, (share.line, 0))
            wanted[counter] = (line, max(int(share.taken * ahead) + more, int(share.granted * fading)))
        return wanted

    def _write_open(self, now: float) -> None:
        """As if they had been asked for in transactions. What they take of counters is in those already."""
        until = now + self._lasts
        held = {
            reservation: parts
            for reservation, lines in self._open.items()
            if (parts := [(*place(one), one.amount) for one in lines if isinstance(one.measure, Window) and one.amount])
        }
        rows = [(reservation, until, orjson.dumps(parts)) for reservation, parts in held.items()]
        if self._database.executemany(_RESERVE, rows).rowcount == len(rows):
            return
        # Another process has closed some of them already, and left word of that.
        for reservation, parts in held.items():
            if self._database.execute(_FORGET_CLOSED, (reservation,)).rowcount == 1:
                for counter, slot, amount in parts:
                    where = (counter, slot)
                    if self._counters.rows([where]) != [None]:
                        self._counters.to_change(where).held -= amount


def _is_of(share: _Share, line: Line) -> bool:
    """Whether the line is counted as the share is: a window may have ended, and a config may say another limit."""
    mine, asked = share.measure, line.measure
    if isinstance(mine, Window) and isinstance(asked, Window):
        return mine.limit == asked.limit and mine.slot == asked.slot
    return mine == asked
