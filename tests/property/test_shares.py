"""Processes that hand out shares of one file, reckoned beside it: nothing is granted twice, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.admission.charge import Line, Rate, Reserved, Settled, Settlement, Unit, Window, held_lines
from extproc.admission.settlement import Reservation, Used, settle_attempt
from extproc.admission.small_change import SmallChange
from extproc.quota import embedded, shares
from extproc.quota.embedded import EmbeddedStore

LIMITS = (600, 500)
"""What a window has: by the config before and after it is loaded anew."""
WIDTH = 20.0
RATE = Rate(capacity=900, per_second=20.0)
LASTS = 30.0
KINDS = ("reserve",) * 6 + ("last",) * 4 + ("attempt", "abandoned") * 2 + ("wait", "wait", "failure", "config", "most")
STEPS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 2), st.integers(0, 12), st.integers(0, 30)),
    min_size=15,
    max_size=60,
)
"""What happens, in which of three processes, and two numbers to it."""


@dataclass
class Held:
    """What a reservation holds of the window that it was made in."""

    process: int
    reservation: Reservation
    slot: int
    amount: int
    expires: float


@dataclass
class Books:
    """What should be in the file. ``more`` is what was used beyond what was held for it, which no limit can prevent."""

    stores: list[EmbeddedStore]
    clock: list[float]
    names: count[int] = field(default_factory=count)
    limits: list[int] = field(default_factory=lambda: [LIMITS[0]] * 3)
    used: Counter[int] = field(default_factory=Counter)
    more: Counter[int] = field(default_factory=Counter)
    held: dict[str, Held] = field(default_factory=dict)
    all: list[Held] = field(default_factory=list)
    """Also those that are settled or have expired."""
    taken: int = 0
    """From the bucket, all in all."""
    taken_more: int = 0

    @property
    def slot(self) -> int:
        """The window that it is."""
        return int(self.clock[0] // WIDTH)

    def counted(self, slot: int) -> int:
        """What is gone of a window."""
        return self.used[slot] + sum(one.amount for one in self.held.values() if one.slot == slot)

    def lines(self, process: int, amount: int) -> list[Line]:
        """Of a request: one from the window, one from the bucket."""
        ends = (self.slot + 1) * WIDTH
        window = Window(limit=self.limits[process], slot=self.slot, first=self.slot, ends=ends, until=ends)
        return [Line("w", Unit.TOKENS, amount, window), Line("r", Unit.TOKENS, amount, RATE)]

    async def reserve(self, process: int, amount: int) -> None:
        """As the gate does."""
        name, store, lines = f"r{next(self.names)}", self.stores[process], self.lines(process, amount)
        reserved: Reserved | None = store.reserve_here(name, lines, lasts=LASTS)
        if reserved is None:
            reserved = await store.reserve(name, lines, lasts=LASTS)
        if not reserved.granted:
            # Or for want of what is in the bucket.
            assert amount > self.limits[process] - self.counted(self.slot) or reserved.levels[1].wait != 0
            return
        reservation = Reservation(id=name, held=held_lines(lines, reserved))
        self.held[name] = Held(process, reservation, self.slot, amount, self.clock[0] + LASTS)
        self.all.append(self.held[name])
        assert self.counted(self.slot) <= self.limits[process] + self.more[self.slot]
        self.taken += amount
        assert self.taken <= RATE.capacity + RATE.per_second * self.clock[0] + self.taken_more

    async def settle(self, process: int, which: int, used: int, how: str) -> None:
        """One that was granted at some time: the last, or one before it."""
        if not self.all:
            return
        one = self.all[-1 - which % len(self.all)]
        # More often than not where it was granted.
        store = self.stores[process if which % 3 == 0 else one.process]
        settlement = settle_attempt(
            one.reservation, Used(tokens=used), SmallChange(), final=how == "last", abandoned=how == "abandoned"
        )
        if settlement is None:
            return
        self.reckon(one, settlement)
        if not store.settle_here(settlement):
            await store.settle(f"b{next(self.names)}", [settlement])

    def reckon(self, one: Held, settlement: Settlement) -> None:
        """What it comes to."""
        is_held = settlement.closes and self.held.pop(one.reservation.id, None) is not None
        for _, slot, held, used in settlement.lines:
            if slot is None:
                self.taken += used - held
                self.taken_more += max(0, used - held)
            else:
                self.used[slot] += used
                self.more[slot] += max(0, used - held) if is_held else used

    async def fail(self, process: int) -> None:
        """Something that cannot be booked shares a transaction with others; so does what was handed out before it."""
        store, slot = self.stores[process], self.slot
        bad = Settlement("bad", (Settled("w", slot, 1 << 70, 0),), closes=False)
        marks = [f"m{next(self.names)}" for _ in range(3)]
        answers = await asyncio.gather(
            *(store.first(mark, until=None) for mark in marks),
            store.settle(f"b{next(self.names)}", [bad]),
            return_exceptions=True,
        )
        assert answers[:3] == [True] * 3

    async def transact(self, *processes: int) -> None:
        """As each does again and again."""
        for process in processes:
            await self.stores[process].first(f"m{next(self.names)}", until=None)

    async def wait(self, process: int, seconds: int) -> None:
        """All go on, while time does; one of them tends."""
        await self.transact(0, 1, 2)
        self.clock[0] += seconds
        await self.transact(0, 1, 2)
        await self.stores[process].tend()
        self.held = {name: one for name, one in self.held.items() if one.expires > self.clock[0]}

    async def do(self, step: str, process: int, first: int, second: int) -> None:
        """One of ``STEPS``."""
        match step:
            case "reserve":
                for _ in range(1 + second % 9):
                    await self.reserve(process, first)
            case "most":
                await self.reserve(process, max(0, self.limits[process] - self.counted(self.slot) + first % 2))
            case "failure":
                await self.fail(process)
            case "wait":
                await self.wait(process, 1 + first)
            case "config":
                self.limits[process] = LIMITS[first % 2]
            case _:
                await self.settle(process, first, second, step)


@given(steps=STEPS)
@settings(max_examples=60, deadline=None)
def test_shares_conserve(steps: list[tuple[str, int, int, int]]) -> None:
    """Grants never pass a limit, refusals are for want of it, and the file says what was used and is held."""
    with (
        mock.patch.multiple(shares, EVERY=0.002, _SHORTEST=0.000_2),
        mock.patch.multiple(embedded, EVERY=0.002, _UNHURRIED=0.000_5),
        tempfile.TemporaryDirectory() as folder,
    ):
        asyncio.run(_check(Path(folder) / "quota.db", steps))


async def _check(path: Path, steps: list[tuple[str, int, int, int]]) -> None:
    clock = [0.0]
    stores = [EmbeddedStore(path, lambda: clock[0]) for _ in range(3)]
    books = Books(stores, clock)
    try:
        for step in steps:
            await books.do(*step)
    finally:
        for store in stores:
            await store.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        counted = database.execute("SELECT slot, used, held FROM counted WHERE counter = 'w'").fetchall()
        written = database.execute("SELECT id FROM reservation WHERE lines IS NOT NULL").fetchall()
        assert database.execute("SELECT * FROM share").fetchall() == []
    assert {slot: (used, held) for slot, used, held in counted} == {
        slot: (books.used[slot], sum(one.amount for one in books.held.values() if one.slot == slot))
        for slot, _, _ in counted
    }
    assert {one.slot for one in books.all} <= {slot for slot, _, _ in counted}
    # What holds nothing may be written still, and does no harm.
    costly = {one.reservation.id for one in books.all if one.amount}
    assert costly & {name for (name,) in written} == costly & books.held.keys()
