"""``time:`` hours of the day on the clock of some place, daylight saving time included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from extproc.config.matches import TimeWindow, format_time_of_day
from extproc.routing.facts import Facts

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """The call arrives within the window. ``start`` and ``end`` are minutes of the day, ``days`` count from Monday."""

    days: frozenset[int]
    start: int
    end: int
    zone: ZoneInfo
    wanted: str

    @classmethod
    def window(cls, window: TimeWindow) -> Within:
        """From the config."""
        days = window.days or _DAYS
        hours = f"{format_time_of_day(window.from_)}–{format_time_of_day(window.to)}"
        return cls(
            days=frozenset(_DAYS.index(day) for day in days),
            start=window.from_,
            end=window.to,
            zone=ZoneInfo(window.timezone),
            wanted=f"time is {hours} on {', '.join(days)} in {window.timezone}",
        )

    def holds(self, facts: Facts) -> bool:
        """See Condition."""
        there = facts.now.astimezone(self.zone)
        minute = there.hour * 60 + there.minute
        if self.start < self.end:
            return self.start <= minute < self.end and there.weekday() in self.days
        # Past midnight: the part after it belongs to the day before.
        if minute >= self.start:
            return there.weekday() in self.days
        return minute < self.end and (there.weekday() - 1) % 7 in self.days

    def found(self, facts: Facts) -> str:
        """See Condition."""
        there = facts.now.astimezone(self.zone)
        return f"{there:%H:%M} on {_DAYS[there.weekday()]}"
