"""One accepted connection: parses requests with h11, performs the steps of each reply, notices when the peer leaves."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import h11

from tests.fakes.journal import Journal
from tests.fakes.recorded import Recorded
from tests.fakes.steps import Await, Fin, Hang, Reset, Send, Sleep, Step

Respond: TypeAlias = Callable[[Recorded], Sequence[Step]]
ServerNames: TypeAlias = "weakref.WeakKeyDictionary[Any, str]"  # by the ssl.SSLObject of the connection

_LONGEST_HEAD = 1 << 20  # bytes; gateways are tested with large headers too
_GLANCE = 0.01  # seconds until a reply that is held looks again whether it may go
_DELIVERY = 1.0  # seconds a reset waits for a peer that does not read


class Connection(asyncio.Protocol):
    """Answers one request after the other with what ``respond`` says; pipelined requests wait their turn."""

    def __init__(
        self, *, respond: Respond, journal: Journal, connections: set[Connection], server_names: ServerNames
    ) -> None:
        self._respond = respond
        self._journal = journal
        self._connections = connections
        self._server_names = server_names
        self._transport: asyncio.Transport | None = None
        self._number = 0
        self._server_name: str | None = None
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)
        self._head: h11.Request | None = None
        self._pieces: list[bytes] = []
        self._current: Recorded | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def transport(self) -> asyncio.Transport:
        """The open transport; only for use between connection_made and connection_lost."""
        if self._transport is None:
            raise RuntimeError("the connection is not open")
        return self._transport

    @property
    def idle(self) -> bool:
        """Whether no request is being received or answered."""
        return self._current is None and self._head is None

    def end(self) -> asyncio.Task[None] | None:
        """Give up the reply in progress and the connection, because the fake ends; the cancelled task, if any."""
        self._give_up(None)
        self.transport.abort()
        return self._task

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        # With next to no buffer of its own the transport pauses as soon as the kernel takes no more: bytes_sent is
        # exact. (Not zero: asyncio's TLS would pause for ever.)
        transport.set_write_buffer_limits(high=1, low=0)
        self._transport = transport
        secured = transport.get_extra_info("ssl_object")
        self._server_name = None if secured is None else self._server_names.get(secured)
        self._number = self._journal.opened()
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._parser.receive_data(data)
        if self._current is None:
            self._parse()

    def eof_received(self) -> None:
        # A client that only ended its own side looks the same; none that reads a reply does that in HTTP/1.1.
        self._give_up(time.monotonic())

    def connection_lost(self, exc: Exception | None) -> None:
        self._give_up(time.monotonic())
        self._journal.closed()
        self._connections.discard(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # ---- requests

    def _parse(self) -> None:
        try:
            while self._current is None:
                event = self._parser.next_event()
                if isinstance(event, h11.Request):
                    self._head = event
                elif isinstance(event, h11.Data):
                    self._pieces.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self._begin()
                else:
                    break
            if self._parser.they_are_waiting_for_100_continue:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        except h11.RemoteProtocolError as error:
            self._refuse(error)

    def _begin(self) -> None:
        head = self._head
        assert head is not None
        path, _, query = head.target.decode("latin-1").partition("?")
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers.raw_items())
        closing = any(name == b"connection" and b"close" in value.lower() for name, value in head.headers)
        request = Recorded(
            number=self._journal.next_number(),
            connection=self._number,
            method=head.method.decode("latin-1"),
            path=path,
            query=query,
            header_list=headers,
            body=b"".join(self._pieces),
            received_at=time.monotonic(),
            wants_close=closing or head.http_version < b"1.1",
            server_name=self._server_name,
        )
        # h11 wants to see the reply before it parses the next request, but replies do not pass it here: start afresh.
        rest, _ = self._parser.trailing_data
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)
        if rest:  # to h11 an empty string is the end of the connection
            self._parser.receive_data(rest)
        self._head, self._pieces, self._current = None, [], request
        self._journal.received(request)
        self._task = asyncio.get_running_loop().create_task(self._answer(request))

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """What is no HTTP request is no request of the test either: it is answered, not recorded."""
        text = f"{error}\n".encode("latin-1", "replace")
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(text)
        self.transport.write(head + text)
        self.transport.close()

    def _give_up(self, client_left_at: float | None) -> None:
        if self._current is None or self._task is None:
            return
        self._journal.abandoned(self._current, client_left_at)
        self._current = None
        self._task.cancel()

    # ---- replies

    async def _answer(self, request: Recorded) -> None:
        try:
            await self._perform(request, self._respond(request))
        except Exception as error:  # noqa: BLE001  task root: the test that owns the fake is told, the client is cut off
            self._journal.failed(error)
            self._journal.abandoned(request, None)
            self._current = None
            self.transport.abort()
            return
        self._current = None
        self._journal.finished(request)
        if not self.transport.is_closing():
            self._parse()

    async def _perform(self, request: Recorded, steps: Sequence[Step]) -> None:
        for step in steps:
            match step:
                case Send(payload):
                    self.transport.write(payload)
                    await self._writable.wait()
                    if self.transport.is_closing():  # the write found the peer gone; connection_lost is due
                        await self._for_ever()
                    self._journal.progressed(request, len(payload))
                    await asyncio.sleep(0)  # others have their turn, and the peer may see this write alone
                case Sleep(seconds):
                    await asyncio.sleep(seconds)
                case Hang():
                    await self._for_ever()
                case Await(event):
                    while not event.is_set():  # noqa: ASYNC110  it is set in another thread
                        await asyncio.sleep(_GLANCE)
                case Reset():
                    await self._delivered()
                    self._reset()
                    return
                case Fin():
                    self.transport.close()
                    return

    async def _for_ever(self) -> None:
        """Until the task is cancelled, because the peer left or the fake ends."""
        await asyncio.get_running_loop().create_future()

    def _reset(self) -> None:
        """End the connection with a TCP RST, now."""
        connection: socket.socket = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def _delivered(self) -> None:
        """Until the peer's kernel has acknowledged every byte: a reset throws away what is still on its way."""
        if sys.platform != "linux":
            return
        descriptor = self.transport.get_extra_info("socket").fileno()
        patience = time.monotonic() + _DELIVERY
        while time.monotonic() < patience:
            (unacknowledged,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0\0\0\0"))
            if unacknowledged == 0:
                return
            await asyncio.sleep(0.001)
