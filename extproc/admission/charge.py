"""What one request takes from limits and budgets, line by line, as the stores count it.

Some twenty of these are made for every request: named tuples, which take half the time that frozen dataclasses do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Unit(StrEnum):
    """What is counted. Money is whole billionths of its currency; see ``extproc.admission.small_change`` for finer."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENT = "concurrent"
    MONEY = "money"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A token bucket: it holds at most ``capacity``, and ``per_second`` runs into it.

    A request takes its amount or, where there is less, is refused and takes nothing. What it really used is settled
    later, which may leave the bucket owing: nothing is granted then until that has run in.
    """

    capacity: int
    per_second: float


class Window(NamedTuple):
    """A sum that may not pass ``limit``: of what was used and is held in the slots from ``first`` on.

    What a request takes now, it takes in ``slot``, which counts until ``until``. ``ends`` is when the sum can next
    become less by itself. Both are Unix seconds, and None for a window that never ends.
    """

    limit: int
    slot: int
    first: int
    ends: float | None
    until: float | None


class Line(NamedTuple):
    """``amount`` to take from ``counter``. One that is not ``enforced`` refuses nothing, and takes what there is."""

    counter: str
    unit: Unit
    amount: int
    measure: Rate | Window
    enforced: bool = True
    currency: str | None = None


class Level(NamedTuple):
    """What a line came to: ``free`` is left of it now, ``wait`` how many seconds until its amount would have fitted.

    ``wait`` is 0 where it was taken or would have been, and None where waiting does not help.
    """

    free: int
    taken: bool
    wait: float | None


class Reserved(NamedTuple):
    """Every line's level, in order. Not ``granted``: nothing at all was taken."""

    granted: bool
    levels: tuple[Level, ...]


class Held(NamedTuple):
    """A line that was taken, for settling it. ``slot`` is None for a rate."""

    counter: str
    unit: Unit
    slot: int | None
    amount: int
    currency: str | None = None


class Settled(NamedTuple):
    """What becomes of a line: ``held`` is given back, ``used`` is booked."""

    counter: str
    slot: int | None
    held: int
    used: int


class Settlement(NamedTuple):
    """What becomes of a reservation. Until one ``closes`` it, more can follow: every attempt books its own."""

    reservation: str
    lines: tuple[Settled, ...]
    closes: bool


def held_lines(lines: Sequence[Line], reserved: Reserved) -> tuple[Held, ...]:
    """The lines that were taken and have to be settled. What counts of a request is that it was made."""
    held = []
    for (counter, unit, amount, measure, _, currency), level in zip(lines, reserved.levels, strict=True):
        if level.taken and unit is not Unit.REQUESTS:
            held.append(Held(counter, unit, measure.slot if isinstance(measure, Window) else None, amount, currency))
    return tuple(held)
