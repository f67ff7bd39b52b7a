"""The store that many hosts share: a Redis or Valkey server, a cluster of them, or one that sentinels watch.

Each reservation, and each batch of settlements, is one script and one round trip. All keys have one hash tag, so that
in a cluster they are on one shard: a request takes from several counters at once, or from none.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import redis.asyncio
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from extproc.admission.charge import Level, Line, Rate, Reserved, Settlement
from extproc.quota.store import StoreUnavailable

_KEPT_AFTER: Final = 86_400
_PAUSE: Final = 0.5
"""Seconds in which a server that did not answer is not asked again, so that not every request waits for it in vain."""
_CLUSTER: Final = "+cluster"
_SENTINEL: Final = "+sentinel"
_CONNECTIONS: Final = 16
"""Of one process; who comes when all are busy waits for one, at most as long as for an answer."""


class _Client(Protocol):
    """What the plain client and the cluster's have in common."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: str | float) -> Awaitable[Any]:
        """Run a script that the server knows."""

    def eval(self, script: str, numkeys: int, *keys_and_args: str | float) -> Awaitable[Any]:
        """Run a script."""

    def aclose(self) -> Awaitable[None]:
        """End its connections."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, and by what name a server that has seen it knows it."""

    text: str
    sha: str


def _script(name: str) -> Script:
    return written(Path(__file__).with_name(name).read_text("utf-8"))


def written(text: str) -> Script:
    """A script as it is sent."""
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


_RESERVE: Final = _script("reserve.lua")
_SETTLE: Final = _script("settle.lua")
_FIRST: Final = written("""
if ARGV[1] == '' then return redis.call('SET', KEYS[1], '1', 'NX') and 1 or 0 end
return redis.call('SET', KEYS[1], '1', 'NX', 'EXAT', ARGV[1]) and 1 or 0
""")
_TIME: Final = written("local t = redis.call('TIME') return t[1] .. '.' .. string.format('%06d', t[2])")


class RedisStore:
    """``timeout`` is seconds; ``password`` gives that of the server as it is now."""

    def __init__(self, url: str, *, password: Callable[[], str | None], prefix: str, timeout: float) -> None:
        self._client: _Client = _connect(url, password(), timeout)
        self._tag = f"{{{prefix}}}:"
        self._reservations = f"{self._tag}reservations"
        self._reservation = f"{self._tag}reservation:"
        # Until the server has told its time once, our own clock is the best guess.
        self._ahead = time.time() - time.monotonic()
        self._not_before = 0.0

    def now(self) -> float:
        """See QuotaStore."""
        return time.monotonic() + self._ahead

    async def reserve(self, reservation: str, lines: Sequence[Line], *, lasts: float) -> Reserved:
        """See QuotaStore."""
        keys = [
            self._reservations,
            f"{self._reservation}{reservation}",
            *(self._counter(line.counter) for line in lines),
        ]
        arguments: list[str | float] = [reservation, lasts, _KEPT_AFTER]
        for line in lines:
            arguments.extend(_spelled(line))
        answer = await self._run(_RESERVE, keys, arguments)
        granted = answer[0] == 1
        self._ahead = float(answer[1]) - time.monotonic()
        levels = []
        for index, line in enumerate(lines):
            free, fits, wait = answer[2 + 3 * index : 5 + 3 * index]
            taken = granted and fits == 1
            levels.append(
                Level(
                    free=floor(float(free)) - (line.amount if taken else 0),
                    taken=taken,
                    wait=float(wait) if wait else None,
                )
            )
        return Reserved(granted=granted, levels=tuple(levels))

    async def settle(self, batch: str, settlements: Sequence[Settlement]) -> None:
        """See QuotaStore."""
        counters: dict[str, int] = {}
        arguments: list[str | float] = []
        for settlement in settlements:
            arguments += [settlement.reservation, int(settlement.closes), len(settlement.lines)]
            for line in settlement.lines:
                number = counters.setdefault(line.counter, len(counters) + 1)
                arguments += [number, "" if line.slot is None else line.slot, line.held, line.used]
        keys = [f"{self._tag}batch:{batch}", self._reservations, self._reservation, *map(self._counter, counters)]
        await self._run(_SETTLE, keys, arguments)

    async def first(self, mark: str, *, until: float | None) -> bool:
        """See QuotaStore."""
        answer = await self._run(_FIRST, [f"{self._tag}mark:{mark}"], ["" if until is None else floor(until) + 1])
        return bool(answer == 1)

    async def tend(self) -> None:
        """Learn the server's time, and so whether it is there."""
        answer = await self._run(_TIME, [self._reservations], [])
        self._ahead = float(answer) - time.monotonic()

    async def close(self) -> None:
        """See QuotaStore."""
        await self._client.aclose()

    def _counter(self, name: str) -> str:
        return f"{self._tag}{name}"

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | float]) -> Any:  # noqa: ANN401 - a script's
        if time.monotonic() < self._not_before:
            raise StoreUnavailable("the server did not answer a moment ago")
        try:
            try:
                return await self._client.evalsha(script.sha, len(keys), *keys, *arguments)
            except NoScriptError:
                return await self._client.eval(script.text, len(keys), *keys, *arguments)
        except (RedisError, OSError) as error:
            self._not_before = time.monotonic() + _PAUSE
            raise StoreUnavailable(str(error) or type(error).__name__) from error


def _spelled(line: Line) -> tuple[str | float, ...]:
    measure = line.measure
    if isinstance(measure, Rate):
        rate = repr(measure.per_second)
        return ("r", line.amount, int(line.enforced), measure.capacity, rate, "", "", "")
    ends = "" if measure.ends is None else repr(measure.ends)
    until = "" if measure.until is None else repr(measure.until)
    return ("w", line.amount, int(line.enforced), measure.limit, measure.slot, measure.first, ends, until)


def _connect(url: str, password: str | None, timeout: float) -> _Client:
    """A client that reaches out when it is first needed. A server that is away is not an error yet."""
    scheme = urlsplit(url).scheme
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "decode_responses": True,
    }
    if password is not None:
        options["password"] = password
    if scheme.endswith(_CLUSTER):
        plain = url.replace(_CLUSTER, "", 1)
        return RedisCluster.from_url(plain, **options)
    # A connection that the server has closed meanwhile is opened again, once.
    options |= {"retry": Retry(NoBackoff(), 1), "retry_on_error": [redis.asyncio.ConnectionError]}
    if scheme.endswith(_SENTINEL):
        return _watched(url, options)
    pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=_CONNECTIONS, timeout=timeout, **options)
    return redis.asyncio.Redis.from_pool(pool)


def _watched(url: str, options: dict[str, Any]) -> _Client:
    """``redis+sentinel://HOST:PORT,HOST:PORT/SERVICE``, or ``rediss+sentinel``."""
    parts = urlsplit(url)
    addresses = [address.rpartition(":") for address in parts.netloc.rpartition("@")[2].split(",")]
    sentinel = Sentinel(  # type: ignore[no-untyped-call] # as shipped
        [(host.strip("[]"), int(port)) for host, _, port in addresses],
        sentinel_kwargs={"socket_timeout": options["socket_timeout"]},
        ssl=parts.scheme.startswith("rediss"),
        **options,
    )
    client: redis.asyncio.Redis = sentinel.master_for(parts.path.strip("/"))
    return client
