"""Scripts on their way to a Redis server: what is asked for in one turn of the event loop goes in one round trip.

redis-py's client takes a connection from its pool for every command, looks whether it is still good, and gives it back:
four times the work of the command itself. Here its connections are used as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import redis.exceptions
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AskError, ClusterDownError, NoScriptError, ReadOnlyError, ResponseError, TryAgainError

from extproc.quota.redis_server import Server

_AT_ONCE: Final = 4
"""Round trips of one process. What is asked for while all are under way shares the next one."""
_ELSEWHERE: Final = (AskError, TryAgainError, ClusterDownError)
"""What a node of a cluster says when the keys are not its own, or not yet, or not any more; MOVED is an ASK."""
_REPLICA: Final = "READONLY"
"""Older servers say it in the middle of what went wrong with the script."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, and by what name a server that has seen it knows it."""

    text: str
    sha: str


def written(text: str) -> Script:
    """A script as it is sent."""
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class _Asked(NamedTuple):
    script: Script
    arguments: tuple[str | int, ...]
    """The number of keys, the keys, and the rest."""
    answer: asyncio.Future[Any]
    deadline: float


class Pipeline:
    """``timeout`` is seconds."""

    def __init__(self, server: Server, timeout: float) -> None:
        self._server = server
        self._timeout = timeout
        self._asked: list[_Asked] = []
        self._later: asyncio.TimerHandle | None = None
        self._is_starting = False
        self._held_up = False
        self._idle: list[AbstractConnection] = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[str | int], *, within: float = 0.0
    ) -> Any:  # noqa: ANN401 - a script's
        """What the script returns. ``within`` is how many seconds it may wait for somebody in a hurry.

        It may run twice, where a connection breaks before the answer. What is cancelled before it is sent does not run.
        Raises RedisError and OSError.
        """
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        deadline = loop.time() + within + self._timeout
        self._asked.append(_Asked(script, (len(keys), *keys, *arguments), answer, deadline))
        if not within:
            self._start()
        elif self._later is None:
            self._later = loop.call_later(within, self._start)
        return await answer

    async def close(self) -> None:
        """Whoever still waits is told so."""
        if self._later is not None:
            self._later.cancel()
        self._held_up = False
        _fail(self._asked, _closed())
        self._asked = []
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                while self._idle:
                    await self._idle.pop().disconnect()
        await self._server.close()

    def _start(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._held_up = not self._is_starting and len(self._under_way) >= _AT_ONCE
        if not self._is_starting and not self._held_up:
            self._is_starting = True
            task = asyncio.get_running_loop().create_task(self._go())
            self._under_way.add(task)
            task.add_done_callback(self._came_back)

    def _came_back(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._held_up:
            self._start()

    async def _go(self) -> None:
        """Begins in the next turn of the loop, with all that was asked for in this one."""
        self._is_starting = False
        asked, self._asked = list(_waiting(self._asked)), []
        if not asked:
            return
        try:
            async with asyncio.timeout_at(asked[0].deadline):
                await self._ask(asked)
        except TimeoutError:
            _fail(asked, redis.exceptions.TimeoutError(f"no answer within {self._timeout * 1_000:.0f} ms"))
            # Somebody on the way may have dropped the others, too, without a word.
            await self._forget()
        except Exception as error:  # whatever it is, whoever asked is told
            _fail(asked, error)
        except asyncio.CancelledError:
            _fail(asked, _closed())
            raise

    async def _ask(self, asked: Sequence[_Asked]) -> None:
        if self._idle:
            try:
                return await self._talk(self._idle.pop(), asked)
            except redis.exceptions.ConnectionError:
                # It was closed while nobody looked, and so may be the others: by a server that has been restarted, or
                # is a replica now, or to which we were silent for too long.
                await self._forget()
        return await self._talk(await self._server.connect(), list(_waiting(asked)))

    async def _talk(self, connection: AbstractConnection, asked: Sequence[_Asked]) -> None:
        """Leaves nothing unread: a connection that is kept is good for the next one."""
        is_kept = False
        try:
            unknown, elsewhere = await _round_trip(connection, "EVALSHA", asked)
            if unknown:
                _, still_elsewhere = await _round_trip(connection, "EVAL", unknown)
                elsewhere += still_elsewhere
            is_kept = not elsewhere
        finally:
            if is_kept:
                self._idle.append(connection)
            else:
                await connection.disconnect(nowait=True)
        for one in elsewhere:
            answer = await self._server.redirect("EVAL", one.script.text, *one.arguments)
            _answer(one, answer)

    async def _forget(self) -> None:
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)


async def _round_trip(
    connection: AbstractConnection, command: str, asked: Sequence[_Asked]
) -> tuple[list[_Asked], list[_Asked]]:
    """Those whose scripts the server does not know, and those whose keys it does not have: neither has run."""
    by_name = command == "EVALSHA"
    packed: list[bytes] = []
    for one in asked:
        packed += connection.pack_command(command, one.script.sha if by_name else one.script.text, *one.arguments)
    await connection.send_packed_command(packed, check_health=False)
    unknown, elsewhere = [], []
    for one in asked:
        try:
            _answer(one, await connection.read_response(timeout=math.inf))
        except NoScriptError:
            unknown.append(one)
        except _ELSEWHERE:
            elsewhere.append(one)
        except ResponseError as error:
            # From a script, older servers tell it in their words alone, newer ones by the error's code.
            if isinstance(error, ReadOnlyError) or _REPLICA in str(error):
                raise redis.exceptions.ConnectionError("the server has become a replica") from error
            _fail([one], error)
    return unknown, elsewhere


def _answer(one: _Asked, answer: Any) -> None:  # noqa: ANN401 - a script's
    if not one.answer.done():
        one.answer.set_result(answer)


def _waiting(asked: Sequence[_Asked]) -> Iterator[_Asked]:
    return (one for one in asked if not one.answer.done())


def _closed() -> Exception:
    return redis.exceptions.ConnectionError("the connections have been closed")


def _fail(asked: Sequence[_Asked], error: Exception) -> None:
    for one in _waiting(asked):
        one.answer.set_exception(error)
