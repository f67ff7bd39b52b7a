"""Every store conserves: whatever is reserved, settled, repeated and forgotten, and through two years of windows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from extproc.admission.charge import Line, Unit, Window, held_lines
from extproc.admission.settlement import Reservation, Used, settle_attempt
from extproc.admission.small_change import SmallChange
from extproc.admission.window import clockwork
from tests.unit.quota.conftest import Bench

LIMIT = 100
LASTS = 100.0
NAMES = count()
AMOUNTS = st.integers(1, 40)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), AMOUNTS, st.integers(1, 6)),
        st.tuples(st.just("attempt"), st.integers(0, 20), st.integers(0, 60)),
        st.tuples(st.just("last"), st.integers(0, 20), st.integers(0, 60)),
        st.tuples(st.just("repeat"), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 3), st.just(0)),
    ),
    max_size=25,
)


@dataclass
class Books:
    """What a store should say, reckoned beside it."""

    bench: Bench
    counter: str = field(default_factory=lambda: f"c{next(NAMES)}")
    used: int = 0
    waited: float = 0.0
    held: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By reservation: how much, and since when."""
    all: list[Reservation] = field(default_factory=list)
    """Also those that are settled or have expired."""
    repeat: Any = None

    @property
    def free(self) -> int:
        """Less what is used, and what is held and has not expired."""
        self.held = {name: (much, since) for name, (much, since) in self.held.items() if self.waited < since + LASTS}
        return LIMIT - self.used - sum(much for much, _ in self.held.values())

    def line(self, amount: int) -> Line:
        """From the only counter."""
        window = Window(limit=LIMIT, slot=0, first=0, ends=None, until=None)
        return Line(counter=self.counter, unit=Unit.TOKENS, amount=amount, measure=window)

    async def reserve(self, amount: int, times: int) -> None:
        """So many at once: as many of them as fit are granted, in whatever order."""
        names = [f"{self.counter}-{next(NAMES)}" for _ in range(times)]
        line, free = self.line(amount), self.free
        found = await asyncio.gather(*(self.bench.store.reserve(name, [line], lasts=LASTS) for name in names))
        granted = [(name, one) for name, one in zip(names, found, strict=True) if one.granted]
        assert len(granted) == min(times, max(0, free) // amount)
        for name, reserved in granted:
            self.held[name] = (amount, self.waited)
            self.all.append(Reservation(id=name, held=held_lines([line], reserved)))

    async def settle(self, which: int, used: int, *, final: bool) -> None:
        """One that was granted at some time; also when it has ended or expired, as a second provider's answer may."""
        if not self.all:
            return
        reservation = self.all[which % len(self.all)]
        settlement = settle_attempt(reservation, Used(tokens=used), SmallChange(), final=final)
        if settlement is not None:
            self.repeat = (f"b{next(NAMES)}", [settlement])
            await self.bench.store.settle(*self.repeat)
            self.used += used
        if final:
            self.held.pop(reservation.id, None)

    async def do(self, step: str, first: int, second: int) -> None:
        """One of ``STEPS``."""
        match step:
            case "reserve":
                await self.reserve(first, second)
            case "repeat" if self.repeat is not None:
                # As who did not get the answer does; nobody else knows the batch.
                await self.bench.store.settle(*self.repeat)
            case "wait":
                self.bench.wait(40 * first)
                self.waited += 40 * first
                await self.bench.store.tend()
            case "attempt" | "last":
                await self.settle(first, second, final=step == "last")


@given(steps=STEPS)
@hypothesis.settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_nothing_is_lost_and_nothing_is_made(bench: Bench, steps: list[tuple[str, int, int]]) -> None:
    """What is free is the limit less what was used and is held: after every step, whoever does it, however often."""
    books = Books(bench)
    for step in steps:
        await books.do(*step)
        levels = (await bench.store.reserve(f"look{next(NAMES)}", [books.line(LIMIT + 1)], lasts=LASTS)).levels
        assert levels[0].free == books.free


PERIODS: dict[str, Callable[[datetime], tuple[int, ...]]] = {
    "month": lambda local: (local.year, local.month),
    "week": lambda local: local.isocalendar()[:2],
    "day": lambda local: (local.year, local.month, local.day),
}


@pytest.mark.parametrize(
    ("kind", "zone", "hours"),
    [("month", "Europe/Berlin", 13), ("week", "Australia/Lord_Howe", 11), ("day", "America/New_York", 7)],
)
async def test_each_window_of_two_years_gives_what_it_has_and_no_more(
    bench: Bench, kind: str, zone: str, hours: int
) -> None:
    """By the calendar of its place, through every change of its clocks; what ends later is booked where it began."""
    limit, period = 2, PERIODS[kind]
    spent: Counter[tuple[int, ...]] = Counter()
    asked: Counter[tuple[int, ...]] = Counter()
    pending: Reservation | None = None
    for step in range(24 * 31 * 24 // hours):
        now = bench.now
        local = period(datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(zone)))
        # As of a worker that has just started: one that remembers its window is asked when that begins at the latest.
        window = clockwork(kind, zone).at(now, limit)
        line = Line(counter=f"{kind}-budget", unit=Unit.TOKENS, amount=1, measure=window)
        reserved = await bench.store.reserve(f"{kind}{step}", [line], lasts=365 * 86_400.0)
        asked[local] += 1
        spent[local] += reserved.granted
        if (
            pending is not None
            and (settlement := settle_attempt(pending, Used(tokens=1), SmallChange(), final=True)) is not None
        ):
            await bench.store.settle(f"{kind}{step}", [settlement])
        pending = Reservation(id=f"{kind}{step}", held=held_lines([line], reserved)) if reserved.granted else None
        bench.wait(hours * 3_600)
    assert len(spent) >= (24 if kind == "month" else 100)
    assert all(spent[one] == min(limit, asked[one]) for one in asked)
    assert sum(asked.values()) > sum(spent.values())
