"""A worker as the supervisor sees it: a child process that is started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from prometheus_client import multiprocess

from extproc.server.board_keeper import BoardKeeper
from extproc.server.control import Channel, Configure, Configured, Drain, Message, Seen, Serve, Working, open_channel

_LOG: Final = logging.getLogger(__name__)
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 10.0
_HEALTHY_AFTER: Final = 30.0
_Done = TypeVar("_Done")
_SILENT_FOR: Final = 20.0
"""Seconds. A worker that is at work says so every second, once it has begun to live."""


class WorkerError(Exception):
    """A worker did not start, or did not take a config; the message says which and why."""


class WorkerSilent(WorkerError):
    """It says nothing. It may still take what it was given, later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a new life is told: the configs to know, oldest first, and the number of the one that serves."""

    configs: Sequence[Configure]
    serves: int


class WorkerProcess:
    """One worker at one address, through all its lives."""

    def __init__(self, index: int, address: str, metrics: Path, told: Callable[[], Told], board: BoardKeeper) -> None:
        self._index = index
        self._board = board
        self._board_channel: Channel | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._address = address
        self._metrics = metrics
        self._told = told
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ending = False
        self._talking = asyncio.Lock()
        self._owed: int | None = None
        self._waiting: asyncio.Task[None] | None = None
        self.serving = False
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Of the present life."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Raises WorkerError when the first life does not come to serve."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def tell(self, message: Configure | Serve) -> None:
        """Raises WorkerError when it refuses or is late. A worker between two lives will be told before it serves."""
        async with self._talking:
            if not self.serving:
                return
            try:
                with contextlib.suppress(ConnectionError):
                    await self._tell(message)
            except WorkerSilent:
                if self._waiting is None or self._waiting.done():
                    self._waiting = asyncio.create_task(self._wait_longer())
                raise

    async def stop(self, grace: float) -> None:
        """Let it finish what it has, then end it."""
        self._ending = True
        for task in (self._keeper, self._waiting):
            if task is not None:
                task.cancel()
        if self._process is None or self._process.returncode is not None:
            return
        if self.serving and self._channel is not None:
            with contextlib.suppress(ConnectionError):
                await self._channel.send(Drain(grace=grace))
        else:
            self._process.kill()  # it has not begun anything
        try:
            await asyncio.wait_for(self._process.wait(), grace + 1)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._bury()

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        our_board, their_board = socket.socketpair()
        for end in (ours, our_board):
            end.settimeout(0)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "extproc.server.child"),
                *("--address", self._address, "--control-fd", str(theirs.fileno())),
                *("--board-fd", str(their_board.fileno())),
                pass_fds=(theirs.fileno(), their_board.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                # Out of reach of the terminal's Ctrl-C, which would end it in the middle of its imports.
                start_new_session=True,
                env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(self._metrics)},
            )
        finally:
            theirs.close()
            their_board.close()
        self._channel = await open_channel(ours)
        self._board_channel = await open_channel(our_board)
        self._hearing = asyncio.create_task(self._hear(self._board_channel))
        await self._tell_everything()

    async def _tell_everything(self) -> None:
        """Also what comes while it is being told the rest; once it serves, it is told with the others."""
        known: set[int] = set()
        while True:
            told = self._told()
            for config in told.configs:
                if config.number not in known:
                    await self._tell(config)
                    known.add(config.number)
            async with self._talking:
                if self._told() == told:
                    await self._tell(Serve(number=told.serves))
                    self.serving = True
                    return

    async def _hear(self, channel: Channel) -> None:
        """What this life has to say of the backends; to be told in turn, it must be known."""
        self._board.attach(self._index, channel.post)
        try:
            while True:
                message = await channel.receive()
                if message is None:
                    return
                if isinstance(message, Seen):
                    self._board.seen(self._index, message)
        finally:
            self._board.detach(self._index)

    async def _tell(self, message: Configure | Serve) -> None:
        channel = self._channel
        if channel is None:
            return
        self._owed = message.number
        # A large config waits until it is read.
        await self._in_time(channel.send(message), message.number)
        await self._answer(channel, message.number)

    async def _in_time(self, doing: Coroutine[Any, Any, _Done], number: int) -> _Done:
        try:
            return await asyncio.wait_for(doing, _SILENT_FOR)
        except TimeoutError:
            problem = f"the worker at {self._address} was given config {number}, and says nothing"
            raise WorkerSilent(problem) from None

    async def _answer(self, channel: Channel, number: int) -> None:
        """Until it comes; that of an earlier message, which was late, is passed over."""
        reply: Message | None = Working(number=number)
        while not (reply is None or (isinstance(reply, Configured) and reply.number == number)):
            reply = await self._in_time(channel.receive(), number)
        self._owed = None
        if reply is None:
            problem = f"the worker at {self._address} ended while it was given config {number}"
            raise WorkerError(problem)
        if reply.problem is not None:
            raise WorkerError(reply.problem)

    async def _wait_longer(self) -> None:
        """It may only have been slow. One that still says nothing moves no request either, and another takes its place.

        Until that is known it is told nothing more.
        """
        async with self._talking:
            number, channel, process = self._owed, self._channel, self._process
            if number is None or channel is None or process is None or not self.serving:
                return  # it has answered what it was told since, or has ended
            try:
                await self._answer(channel, number)
            except WorkerSilent as error:
                _LOG.error("%s; ending it", error)
                self.serving = False
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            except WorkerError as error:
                _LOG.error("late answer: %s", error)
            else:
                _LOG.warning("the worker at %s has taken config %d, late", self._address, number)

    async def _keep(self) -> None:
        """Start it again whenever it ends. The wait doubles while lives are short: a crash loop costs little."""
        wait = _FIRST_WAIT
        while True:
            born = time.monotonic()
            code = None if self._process is None else await self._process.wait()
            self._bury()
            wait = _FIRST_WAIT if time.monotonic() - born > _HEALTHY_AFTER else min(wait * 2, _LONGEST_WAIT)
            _LOG.error("worker at %s ended with code %s; starting it again in %.1f s", self._address, code, wait)
            await asyncio.sleep(wait)
            self.restarts += 1
            try:
                await self._spawn()
            except (WorkerError, OSError) as error:
                _LOG.error("worker at %s did not start: %s", self._address, error)
                if self._process is not None and self._process.returncode is None:
                    self._process.kill()

    def _bury(self) -> None:
        self.serving = False
        self._owed = None
        if self._hearing is not None:
            self._hearing.cancel()
        for channel in (self._channel, self._board_channel):
            if channel is not None:
                channel.close()
        if self._process is not None:
            multiprocess.mark_process_dead(self._process.pid, str(self._metrics))  # type: ignore[no-untyped-call] # as shipped
