"""An HTTP/1.1 server on 127.0.0.1 in a thread of its own, which does what real servers refuse to: see steps.py."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import ssl
import threading
import weakref
from collections.abc import Coroutine, Iterator
from typing import Any

from tests.fakes.connection import Connection, Respond, ServerNames
from tests.fakes.journal import Journal

_BACKLOG = 4096
_PATIENCE = 10.0  # seconds for the thread to do what it is told


class HttpServer:
    """Accepts connections from ``start`` to ``stop``; ``respond`` runs in the server's thread, once for each request.

    The port stays the same for the server's life, also after connections were refused for a while.
    """

    def __init__(self, *, name: str, respond: Respond, journal: Journal, tls: ssl.SSLContext | None = None) -> None:
        self._respond = respond
        self._journal = journal
        self._tls = tls
        self._server_names: ServerNames = weakref.WeakKeyDictionary()
        if tls is not None:
            tls.sni_callback = self._note_server_name
        self._listener = _bound(0)
        self.port: int = self._listener.getsockname()[1]
        self._connections: set[Connection] = set()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name=f"fake {name}", daemon=True)

    def start(self) -> None:
        """Serve; returns when connections are accepted."""
        self._thread.start()
        self._started.result(_PATIENCE)

    def stop(self) -> None:
        """End every connection and the thread; nothing of the server is left when this returns."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            raise RuntimeError(f"{self._thread.name} does not end")
        self._listener.close()

    def refuse(self) -> None:
        """From now on connecting fails at once; idle connections end, requests in progress go on."""
        self._call(self._stop_listening())

    def accept(self) -> None:
        """Accept connections again, on the same port."""
        self._call(self._listen())

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        if self._loop is None:
            work.close()
            raise RuntimeError("the server is not running")
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    # ---- in the server's thread

    def _run(self) -> None:
        # Not the loop of the policy in force: tests of the gateway may have installed uvloop, whose sockets differ.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            try:
                runner.run(self._serve())
            except BaseException as error:  # noqa: BLE001  task root: start() raises it, or the test that owns the fake is told
                if self._started.done():
                    self._journal.failed(error)
                else:
                    self._started.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._unexpected)
        await self._listen()
        self._started.set_result(None)
        await self._stopping.wait()
        self._loop.remove_reader(self._listener)
        await asyncio.sleep(0)  # a connection accepted just now is adopted first, and then has an owner that ends it
        answers = [task for connection in self._connections if (task := connection.end()) is not None]
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*answers, *self._handshakes, return_exceptions=True)
        while self._connections:  # noqa: ASYNC110  each leaves the set in a callback that is already due
            await asyncio.sleep(0)

    async def _listen(self) -> None:
        self._listener.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(self._listener, self._accept_waiting)

    async def _stop_listening(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = _bound(self.port)
        for connection in self._connections:
            if connection.idle:
                connection.transport.close()

    def _accept_waiting(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                accepted, _ = self._listener.accept()
                accepted.setblocking(False)
                task = asyncio.get_running_loop().create_task(self._adopt(accepted))
                self._handshakes.add(task)
                task.add_done_callback(self._handshakes.discard)

    async def _adopt(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def connection() -> Connection:
            return Connection(
                respond=self._respond,
                journal=self._journal,
                connections=self._connections,
                server_names=self._server_names,
            )

        # A client that leaves during the handshake, or does not trust the certificate, is a client's affair.
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await loop.connect_accepted_socket(connection, accepted, ssl=self._tls)

    def _note_server_name(self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        if name is not None:
            self._server_names[connection] = name

    def _unexpected(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._journal.failed(context.get("exception") or RuntimeError(context["message"]))


def _bound(port: int) -> socket.socket:
    """A socket that holds ``port`` (0: a free one) of 127.0.0.1 and does not listen: connecting to it is refused."""
    # The protocol is named because asyncio sends each piece at once (TCP_NODELAY) only on sockets that name it.
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", port))
    holder.setblocking(False)
    return holder


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 where connecting is refused for sure: it is held, but nobody listens."""
    with _bound(0) as holder:
        yield holder.getsockname()[1]


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port of 127.0.0.1 where connecting neither succeeds nor fails: nobody accepts and the backlog is full."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(_bound(0))
        listener.listen(0)
        for _ in range(4):
            waiting = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
