"""Hours, days and months in UTC, as the tables of sums cut the time: each is told by the first Unix hour in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

HOUR_MS: Final = 3_600_000
_HOUR_SECONDS: Final = 3_600
_DAY_HOURS: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """``begin`` of the one that an hour lies in; ``longest`` is how many hours one may have."""

    begin: Callable[[int], int]
    longest: int

    def after(self, hour: int) -> int:
        """The first hour that no longer belongs to the one that an hour lies in."""
        return self.begin(self.begin(hour) + self.longest)

    def next_begin(self, hour: int) -> int:
        """The hour itself, where one begins with it; else the next that one begins with."""
        begin = self.begin(hour)
        return hour if begin == hour else self.after(hour)


def moment(hour: int) -> datetime:
    """When it begins."""
    return datetime.fromtimestamp(hour * _HOUR_SECONDS, UTC)


def _day(hour: int) -> int:
    return hour - hour % _DAY_HOURS


@lru_cache(maxsize=4_096)
def _month(hour: int) -> int:
    first = moment(hour).replace(day=1, hour=0)
    return int(first.timestamp()) // _HOUR_SECONDS


HOUR: Final = Period(begin=lambda hour: hour, longest=1)
DAY: Final = Period(begin=_day, longest=_DAY_HOURS)
MONTH: Final = Period(begin=_month, longest=31 * _DAY_HOURS)
