"""A worker as a child process of ``kortex run``: ``python -m extproc.server.child --address … …``."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import time
from typing import Final

import uvloop
from prometheus_client import REGISTRY, values

from extproc.config.load import ConfigError
from extproc.credentials.secrets import FilesRead
from extproc.credentials.store import TokenStore
from extproc.exchange.pricing import load_vocabularies
from extproc.exchange.snapshot import Snapshot
from extproc.quota.store import StoreUnavailable
from extproc.server.board_link import BoardLink
from extproc.server.control import Channel, Configure, Configured, Drain, Known, Serve, Working, open_channel
from extproc.server.counting import Counting
from extproc.server.logs import log_to_standard_error
from extproc.server.memory import settle_memory
from extproc.server.recording import Recording, recording_for
from extproc.server.reload import FIRST_TOKEN_SECONDS, Serving, build_snapshot, token_requests
from extproc.server.standard_output import StandardOutput
from extproc.server.worker import Worker

_SAY_SO_EVERY: Final = 1.0


class Child:
    """Learns its configs, then serves the one it is told to, swapping as it is told, until it is told to drain."""

    def __init__(self, address: str, channel: Channel, board: Channel) -> None:
        self._address = address
        self._channel = channel
        self._board = board
        self._link = BoardLink(board.post)
        self._counting = Counting(REGISTRY)
        self._known: dict[int, tuple[Snapshot, FilesRead]] = {}
        self._serving: Serving | None = None
        self._worker: Worker | None = None
        self._recording: Recording | None = None
        self._tokens = TokenStore()
        self._output = StandardOutput()

    async def listen(self) -> None:
        """What the keeper of the board tells, until it is gone."""
        while True:
            message = await self._board.receive()
            if message is None:
                return
            if isinstance(message, Known):
                self._link.known(message)

    async def run(self) -> None:
        """Until the supervisor says drain or is gone."""
        try:
            await self._run()
        finally:
            if self._recording is not None:
                self._recording.close()

    async def _run(self) -> None:
        while True:
            message = await self._channel.receive()
            if isinstance(message, Configure):
                working = asyncio.create_task(self._say_so(message.number))
                configured = await self._configure(message)
                working.cancel()
                await self._channel.send(configured)
            elif isinstance(message, Serve):
                await self._channel.send(await self._serve(message))
            elif self._worker is None:
                return
            else:
                grace = message.grace if isinstance(message, Drain) else 0.0
                await self._worker.drain()
                await self._worker.stop(grace)
                await self._counting.stop()
                self._tokens.close()
                self._output.flush()
                return

    async def _say_so(self, number: int) -> None:
        """That it is at work: a large config takes a while, and more on a busy machine."""
        while True:
            await asyncio.sleep(_SAY_SO_EVERY)
            self._channel.post(Working(number=number))

    async def _configure(self, message: Configure) -> Configured:
        """Everything that takes time or can go wrong, and only once."""
        if message.number in self._known:
            return Configured(number=message.number)
        try:
            # In threads: a large file of keys and a vocabulary take a while, and requests are being served.
            files: FilesRead = {path: content.encode() for path, content in message.files.items()}
            snapshot = await asyncio.to_thread(
                build_snapshot, message.text.encode(), number=message.number, tokens=self._tokens, files=files
            )
            await asyncio.to_thread(load_vocabularies, snapshot)
        except ConfigError as error:
            return Configured(number=message.number, problem=str(error))
        try:
            self._counting.configure(snapshot)
        except StoreUnavailable as error:
            return Configured(number=message.number, problem=f"quota.url: {error}")
        await self._tokens.take_up(token_requests(snapshot.targets.values()), within=FIRST_TOKEN_SECONDS)
        self._known[message.number] = snapshot, files
        if self._serving is not None:
            self._serving.announce(snapshot)
        return Configured(number=message.number)

    async def _serve(self, message: Serve) -> Configured:
        if self._serving is not None and self._serving.snapshot.number == message.number:
            return Configured(number=message.number)
        snapshot, files = self._known.pop(message.number)
        others = tuple(other for other, _ in self._known.values())
        # Those after it may be what is served next; it was told of them while it started in the middle of a reload.
        self._known = {number: known for number, known in self._known.items() if number > message.number}
        log_to_standard_error(snapshot.config.gateway.log_level)
        if self._serving is not None:
            self._serving.swap(snapshot, now=time.monotonic())
            self._tokens.keep_only(token_requests(self._serving.targets.values()))
            return Configured(number=message.number)
        self._serving = Serving(snapshot)
        for other in others:
            self._serving.announce(other)
        self._recording = recording_for(
            snapshot.config, REGISTRY, self._link, self._counting, self._output.write_line, files
        )
        worker = Worker(self._address, self._serving, self._recording, self._link, self._counting)
        await worker.start()
        self._worker = worker
        return Configured(number=message.number)


def _count_as_one_process() -> None:
    """Before any metric is made. A worker does not fork: to ask at each count whether it has takes a 20th of a request.

    https://prometheus.github.io/client_python/multiprocess/
    """
    own = os.getpid()
    values.ValueClass = values.MultiProcessValue(lambda: own)  # type: ignore[no-untyped-call] # as shipped


async def _serve(address: str, control_fd: int, board_fd: int) -> None:
    # The terminal's Ctrl-C reaches the whole group, but it is the supervisor that says when to end.
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: None)
    channel = await open_channel(socket.socket(fileno=control_fd))
    board = await open_channel(socket.socket(fileno=board_fd))
    child = Child(address, channel, board)
    listening = asyncio.create_task(child.listen())
    await child.run()
    listening.cancel()
    board.close()
    channel.close()


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(prog="kortex-worker")
    parser.add_argument("--address", required=True)
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--board-fd", type=int, required=True)
    arguments = parser.parse_args()
    settle_memory()
    _count_as_one_process()
    uvloop.run(_serve(arguments.address, arguments.control_fd, arguments.board_fd))


if __name__ == "__main__":
    main()
