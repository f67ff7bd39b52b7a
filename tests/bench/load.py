"""Whole replies under load: connections that each send the same call again as soon as its reply is there and right."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import Final, cast
from urllib.parse import urlsplit

_OK: Final = b"HTTP/1.1 200 "


class WrongReply(Exception):
    """A reply is not what it must be; the message quotes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """``latencies``: of each call, in seconds. ``seconds``: from the first call to the last reply."""

    latencies: list[float]
    seconds: float


async def load(origin: str, request: bytes, expected: bytes, *, connections: int, seconds: float) -> Load:
    """Keep ``connections`` calls in the air. Raises WrongReply when a reply's body is not ``expected``."""
    loop = asyncio.get_running_loop()
    host, _, port = urlsplit(origin).netloc.partition(":")
    clients = [_Client(request, expected) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(partial(_itself, client), host, int(port))
    try:
        # A first call on each, so that no connection is made while the clock runs.
        await asyncio.gather(*(client.run(0.0) for client in clients))
        begun = time.perf_counter()
        runs = await asyncio.gather(*(client.run(begun + seconds) for client in clients))
        return Load(latencies=[one for run in runs for one in run], seconds=time.perf_counter() - begun)
    finally:
        for client in clients:
            client.close()


def _itself(client: _Client) -> _Client:
    return client


class _Client(asyncio.Protocol):
    def __init__(self, request: bytes, expected: bytes) -> None:
        self._request = request
        self._expected = expected
        self._held = b""
        self._latencies: list[float] = []
        self._sent = self._until = 0.0
        self._ended: asyncio.Future[list[float]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the connection was lost: {error or 'closed by the other side'}")

    async def run(self, until: float) -> list[float]:
        """Call at least once, and again until the clock says so; the latencies."""
        self._ended = asyncio.get_running_loop().create_future()
        self._until = until
        self._latencies = []
        self._send()
        return await self._ended

    def close(self) -> None:
        self._ended = None
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        reply = self._held + data if self._held else data
        body = reply.find(b"\r\n\r\n") + 4
        missing = len(self._expected) - (len(reply) - body)
        if not reply.startswith(_OK):
            self._fail(reply.decode(errors="replace"))
        elif body < 4 or missing > 0:
            self._held = reply
        elif missing < 0 or not reply.endswith(self._expected):
            self._fail(reply.decode(errors="replace"))
        else:
            self._held = b""
            self._next()

    def _next(self) -> None:
        now = time.perf_counter()
        self._latencies.append(now - self._sent)
        if now < self._until:
            self._send()
        elif self._ended is not None:
            self._ended.set_result(self._latencies)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def _fail(self, message: str) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(WrongReply(message))
