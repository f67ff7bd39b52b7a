"""When a budget begins anew: calendar windows in their own time zone, rolling ones, and all of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from extproc.admission.charge import Window
from extproc.config.limits import rolling_seconds

_PARTS: Final = 60
"""Of a rolling window: what was used leaves it a part at a time, a 60th of the window late at most."""


class Clockwork(Protocol):
    """From a moment to the window that it is in."""

    def at(self, now: float, limit: int) -> Window:
        """``now`` is Unix seconds."""


def clockwork(window: str, timezone: str) -> Clockwork:
    """For a ``window`` and a ``timezone`` as configs have them."""
    rolling = rolling_seconds(window)
    if rolling is not None:
        return _Rolling(rolling / _PARTS)
    return _Total() if window == "total" else _Calendar(window, ZoneInfo(timezone))


class _Total:
    def at(self, now: float, limit: int) -> Window:  # noqa: ARG002 - one window is as good as the other
        return Window(limit=limit, slot=0, first=0, ends=None, until=None)


@dataclass(frozen=True, slots=True)
class _Rolling:
    width: float

    def at(self, now: float, limit: int) -> Window:
        slot = int(now // self.width)
        ends = (slot + 1) * self.width
        # One slot more than the window has parts: the first of them is still partly in it.
        return Window(limit=limit, slot=slot, first=slot - _PARTS, ends=ends, until=ends + _PARTS * self.width)


class _Calendar:
    """Remembers the window it was last asked for: nearly every request is in it."""

    __slots__ = ("_ends", "_kind", "_starts", "_window", "_zone")

    def __init__(self, kind: str, zone: ZoneInfo) -> None:
        self._kind = kind
        self._zone = zone
        self._starts = self._ends = 0.0
        self._window = Window(limit=0, slot=0, first=0, ends=None, until=None)

    def at(self, now: float, limit: int) -> Window:
        window = self._window
        if not self._starts <= now < self._ends or window.limit != limit:
            starts, ends = self._starts, self._ends = self._bounds(now)
            slot = int(starts)
            window = self._window = Window(limit=limit, slot=slot, first=slot, ends=ends, until=ends)
        return window

    def _bounds(self, now: float) -> tuple[float, float]:
        if self._kind == "hour":
            # Clocks change by whole hours nearly everywhere; where they do by half of one, an hour of UTC is as good.
            starts = now // 3_600 * 3_600
            return starts, starts + 3_600
        today = datetime.fromtimestamp(now, self._zone).date()
        match self._kind:
            case "day":
                first, following = today, today + timedelta(days=1)
            case "week":
                first = today - timedelta(days=today.weekday())
                following = first + timedelta(days=7)
            case _:
                first = today.replace(day=1)
                following = (first + timedelta(days=31)).replace(day=1)
        return self._midnight(first), self._midnight(following)

    def _midnight(self, day: date) -> float:
        """The first moment of a day. Where clocks skip midnight, that is the moment at which they do."""
        return datetime.combine(day, time(), self._zone).timestamp()
