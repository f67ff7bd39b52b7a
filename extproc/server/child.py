"""A worker as a child process of ``kortex run``: ``python -m extproc.server.child --address … …``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import time

import uvloop
from prometheus_client import REGISTRY

from extproc.config.load import ConfigError
from extproc.credentials.store import TokenStore
from extproc.exchange.pricing import load_vocabularies
from extproc.quota.store import StoreUnavailable
from extproc.server.board_link import BoardLink
from extproc.server.control import Channel, Configure, Configured, Drain, Known, open_channel
from extproc.server.counting import Counting
from extproc.server.logs import log_to_standard_error
from extproc.server.memory import settle_memory
from extproc.server.recording import Recording, recording_for
from extproc.server.reload import FIRST_TOKEN_SECONDS, Serving, build_snapshot, token_requests
from extproc.server.standard_output import StandardOutput
from extproc.server.worker import Worker


class Child:
    """Waits for its first config, then serves, swapping configs as they come, until it is told to drain."""

    def __init__(self, address: str, channel: Channel, board: Channel) -> None:
        self._address = address
        self._channel = channel
        self._board = board
        self._link = BoardLink(board.post)
        self._counting = Counting(REGISTRY)
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
                await self._channel.send(await self._configure(message))
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

    async def _configure(self, message: Configure) -> Configured:
        try:
            # In a thread: a large file of keys takes a while, and requests are being served.
            text = message.text.encode()
            snapshot = await asyncio.to_thread(build_snapshot, text, number=message.number, tokens=self._tokens)
        except ConfigError as error:
            return Configured(number=message.number, problem=str(error))
        try:
            self._counting.configure(snapshot)
        except StoreUnavailable as error:
            return Configured(number=message.number, problem=f"quota.url: {error}")
        load_vocabularies(snapshot)
        log_to_standard_error(snapshot.config.gateway.log_level)
        await self._tokens.take_up(token_requests(snapshot.targets.values()), within=FIRST_TOKEN_SECONDS)
        if self._serving is not None:
            self._serving.swap(snapshot, now=time.monotonic())
            self._tokens.keep_only(token_requests(self._serving.targets.values()))
            return Configured(number=message.number)
        self._serving = Serving(snapshot)
        self._recording = recording_for(snapshot.config, REGISTRY, self._link, self._counting, self._output.write_line)
        worker = Worker(self._address, self._serving, self._recording, self._link, self._counting)
        await worker.start()
        self._worker = worker
        return Configured(number=message.number)


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
    uvloop.run(_serve(arguments.address, arguments.control_fd, arguments.board_fd))


if __name__ == "__main__":
    main()
