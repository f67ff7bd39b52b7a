"""A provider that answers with fixed bytes, as fast as Python can: ``python -m tests.bench.provider`` prints its port.

It refuses every call that is not for its own model, so that a name which was not rewritten fails the run.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import Final, cast

import uvloop

from tests.bench import wire

_CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_MODEL: Final = b'"model":"%s"' % wire.UPSTREAM_MODEL.encode()
_STREAM: Final = b'"stream":true'
_ANSWER: Final = wire.answer()
_STREAM_HEAD: Final = wire.stream_head()


class _Connection(asyncio.Protocol):
    """One call after the other, over one connection."""

    def __init__(self) -> None:
        self._held = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        request = self._held + data if self._held else data
        end = request.find(b"\r\n\r\n") + 4
        length = _CONTENT_LENGTH.search(request, 0, end) if end >= 4 else None
        if length is None or len(request) < end + int(length[1]):
            self._held = request
            return
        self._held = b""
        if request.find(_MODEL, end) < 0:
            self._transport.write(wire.REFUSAL)
        elif request.find(_STREAM, end) < 0:
            self._transport.write(_ANSWER)
        else:
            self._transport.write(_STREAM_HEAD + self._token(0))
            self._schedule(1)

    def _schedule(self, index: int) -> None:
        self._timer = asyncio.get_running_loop().call_later(wire.CHUNK_SECONDS, self._next, index)

    def _next(self, index: int) -> None:
        if index == wire.STREAM_CHUNKS:
            last = wire.chunked(wire.last_events(wire.UPSTREAM_MODEL))
            self._transport.write(last + wire.chunked(b""))
            return
        self._transport.write(self._token(index))
        self._schedule(index + 1)

    def _token(self, index: int) -> bytes:
        token = wire.Token(index=index, written=time.monotonic_ns())
        return wire.chunked(wire.token_event(wire.UPSTREAM_MODEL, token))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Whoever started it holds the other end of its standard input: it ends with them.
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(_serve())
