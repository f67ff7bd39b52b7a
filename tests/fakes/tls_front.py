"""TLS in front of a server that does not speak it: the Redis of the wheel is built without.

Whoever begins in plain text is passed on as well: the servers' own traffic comes to the port that they announce.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import trustme

_HANDSHAKE: Final = 0x16
"""The first byte of a TLS record that opens a connection; RESP begins with ``*``."""


class Authority:
    """Signs for servers and for clients; its certificate, and the client's with its key, are files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.client_file = folder / "client.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))
        self._authority.issue_cert("client.internal").private_key_and_cert_chain_pem.write_to_path(
            str(self.client_file)
        )

    def context(self, names: Sequence[str], *, asks_back: bool = False) -> ssl.SSLContext:
        """A server's, which ``asks_back`` for the client's certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names).configure_cert(context)
        if asks_back:
            context.load_verify_locations(self.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class TLSFront:
    """``target`` is the port behind it; ``secured`` counts the connections that spoke TLS."""

    def __init__(self, target: Callable[[], int], context: ssl.SSLContext) -> None:
        self._target = target
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()], daemon=True)
        self._ended = asyncio.Event()
        self.port: int = self._listener.getsockname()[1]
        self.secured = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._listener.close()
        self._loop.close()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            accepting = tasks.create_task(self._accept(tasks))
            await self._ended.wait()
            accepting.cancel()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    async def _accept(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            accepted, _ = await self._loop.sock_accept(self._listener)
            tasks.create_task(self._pass_on(accepted))

    async def _pass_on(self, accepted: socket.socket) -> None:
        writers: list[asyncio.StreamWriter] = []
        try:
            is_secure = await self._first_byte(accepted) == _HANDSHAKE
            reader, client = await self._streams(accepted, self._context if is_secure else None)
            writers.append(client)
            self.secured += is_secure
            answers, server = await asyncio.open_connection("127.0.0.1", self._target())
            writers.append(server)
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, server))
                both.create_task(_pump(answers, client))
        except (OSError, IndexError):
            pass  # it went away, or does not trust us
        finally:
            for writer in writers:
                writer.transport.abort()
            # So that nothing of it is left when the loop ends.
            await asyncio.sleep(0)
            if not writers:
                accepted.close()

    async def _first_byte(self, accepted: socket.socket) -> int:
        readable = asyncio.Event()
        self._loop.add_reader(accepted, readable.set)
        try:
            await readable.wait()
        finally:
            self._loop.remove_reader(accepted)
        return accepted.recv(1, socket.MSG_PEEK)[0]

    async def _streams(
        self, accepted: socket.socket, context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader = asyncio.StreamReader()
        transport, protocol = await self._loop.connect_accepted_socket(
            lambda: asyncio.StreamReaderProtocol(reader), accepted, ssl=context
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, self._loop)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while some := await reader.read(65_536):
            writer.write(some)
            await writer.drain()
    except OSError:
        pass  # one side has gone, so that the other may
    writer.close()
