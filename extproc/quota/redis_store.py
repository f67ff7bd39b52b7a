"""The store that many hosts share: a Redis or Valkey server, a cluster of them, or one that sentinels watch.

Each reservation, and each batch of settlements, is one script and one round trip; what is asked for at once shares it.
All keys have one hash tag, so that in a cluster they are on one shard: a request takes from several counters at once,
or from none.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from math import floor
from pathlib import Path
from typing import Any, Final

from redis.exceptions import RedisClusterException, RedisError

from extproc.admission.charge import Level, Line, Rate, Reserved, Settlement
from extproc.quota.redis_pipeline import Pipeline, Script, written
from extproc.quota.redis_server import find_server
from extproc.quota.store import StoreUnavailable

_KEPT_AFTER: Final = 86_400
_PAUSE: Final = 0.5
"""Seconds in which a server that did not answer is not asked again, so that not every request waits for it in vain."""
_UNHURRIED: Final = 0.005
"""Seconds that settlements wait for a request to share its round trip."""
_MOST_UNSURE: Final = 10_000
_RELEASED_AT_ONCE: Final = 500
_SWEPT: Final = 1_000
"""Reservations that are given back in a second because their time is over: some milliseconds of the server's."""
_NONE: Final = "-"


def _script(*names: str) -> Script:
    return written("".join(Path(__file__).with_name(name).read_text("utf-8") for name in names))


_RESERVE: Final = _script("give_back.lua", "reserve.lua")
_SETTLE: Final = _script("settle.lua")
_RELEASE: Final = _script("give_back.lua", "release.lua")
_FIRST: Final = written("""
if ARGV[1] == '' then return redis.call('SET', KEYS[1], '1', 'NX') and 1 or 0 end
return redis.call('SET', KEYS[1], '1', 'NX', 'EXAT', ARGV[1]) and 1 or 0
""")


class RedisStore:
    """``timeout`` is seconds; ``password`` gives that of the server as it is now."""

    def __init__(self, url: str, *, password: Callable[[], str | None], prefix: str, timeout: float) -> None:
        self._tag = f"{{{prefix}}}:"
        self._reservations = f"{self._tag}reservations"
        self._reservation = f"{self._tag}reservation:"
        self._pipeline = Pipeline(find_server(url, password(), key=self._reservations, timeout=timeout), timeout)
        # Until the server has told its time once, our own clock is the best guess.
        self._ahead = time.time() - time.monotonic()
        self._not_before = 0.0
        self._unsure: deque[str] = deque(maxlen=_MOST_UNSURE)

    def now(self) -> float:
        """See QuotaStore."""
        return time.monotonic() + self._ahead

    async def reserve(self, reservation: str, lines: Sequence[Line], *, lasts: float) -> Reserved:
        """See QuotaStore. One whose answer does not come is given back by ``tend``, as soon as the server answers."""
        keys = [
            self._reservations,
            f"{self._reservation}{reservation}",
            *[f"{self._tag}{line.counter}" for line in lines],
        ]
        words = " ".join([f"{reservation} {lasts!r} {_KEPT_AFTER}", *map(_spelled, lines)])
        self._check_pause()
        try:
            answer = await self._run(_RESERVE, keys, [words])
        except (StoreUnavailable, asyncio.CancelledError):
            self._unsure.append(reservation)
            raise
        granted, now, *levels = answer.split(" ")
        self._ahead = float(now) - time.monotonic()
        if len(levels) < len(lines):
            raise StoreUnavailable("this reservation has been given up")
        return Reserved(granted=granted == "1", levels=_levels(lines, levels, granted=granted == "1"))

    def reserve_here(self, reservation: str, lines: Sequence[Line], *, lasts: float) -> None:
        """See QuotaStore. Hosts do not hand out anything by themselves: the server is asked for every request."""

    def settle_here(self, settlement: Settlement) -> bool:  # noqa: ARG002 - the server keeps all
        """See QuotaStore."""
        return False

    async def settle(self, batch: str, settlements: Sequence[Settlement]) -> None:
        """See QuotaStore."""
        numbers: dict[str, int] = {}
        spelled = []
        for settlement in settlements:
            words = [f"{settlement.reservation} {settlement.closes:d}"]
            for line in settlement.lines:
                number = numbers.setdefault(line.counter, len(numbers) + 1)
                words.append(f"{number} {_NONE if line.slot is None else line.slot} {line.held} {line.used}")
            spelled.append(" ".join(words))
        counters = [f"{self._tag}{counter}" for counter in numbers]
        keys = [f"{self._tag}batch:{batch}", self._reservations, self._reservation, *counters]
        await self._run(_SETTLE, keys, spelled, within=_UNHURRIED)

    async def first(self, mark: str, *, until: float | None) -> bool:
        """See QuotaStore."""
        answer = await self._run(_FIRST, [f"{self._tag}mark:{mark}"], ["" if until is None else floor(until) + 1])
        return bool(answer == 1)

    async def tend(self) -> None:
        """Learn the server's time, and so whether it is there; and give back what is over, or nobody's."""
        released = [self._unsure.popleft() for _ in range(min(len(self._unsure), _RELEASED_AT_ONCE))]
        try:
            answer = await self._run(_RELEASE, [self._reservations, self._reservation], [_SWEPT, *released])
        except (StoreUnavailable, asyncio.CancelledError):
            self._unsure.extend(released)
            raise
        self._ahead = float(answer) - time.monotonic()

    async def close(self) -> None:
        """See QuotaStore."""
        await self._pipeline.close()

    async def _run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[str | int], *, within: float = 0.0
    ) -> Any:  # noqa: ANN401 - a script's
        self._check_pause()
        try:
            return await self._pipeline.run(script, keys, arguments, within=within)
        except (RedisError, RedisClusterException, OSError) as error:
            self._not_before = time.monotonic() + _PAUSE
            raise StoreUnavailable(str(error) or type(error).__name__) from error

    def _check_pause(self) -> None:
        if time.monotonic() < self._not_before:
            raise StoreUnavailable("the server did not answer a moment ago")


def _spelled(line: Line) -> str:
    """As reserve.lua reads it."""
    measure = line.measure
    if isinstance(measure, Rate):
        return f"r {line.amount} {line.enforced:d} {measure.capacity} {measure.per_second!r}"
    ends = _NONE if measure.ends is None else repr(measure.ends)
    until = _NONE if measure.until is None else repr(measure.until)
    return f"w {line.amount} {line.enforced:d} {measure.limit} {measure.slot} {measure.first} {ends} {until}"


def _levels(lines: Sequence[Line], words: Sequence[str], *, granted: bool) -> tuple[Level, ...]:
    levels = []
    for line, free, fits, wait in zip(lines, words[::3], words[1::3], words[2::3], strict=True):
        taken = granted and fits == "1"
        left = floor(float(free)) - (line.amount if taken else 0)
        levels.append(Level(free=left, taken=taken, wait=None if wait == _NONE else float(wait)))
    return tuple(levels)
