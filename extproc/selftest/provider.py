"""Fake providers on loopback, one for each backend: raw HTTP/1.1, because faults need every byte in their own hands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final

from extproc.selftest.dialect import Spoken
from extproc.selftest.fault import Act, Fault
from extproc.selftest.scenario import Scenarios

_LOOPBACK: Final = "127.0.0.1"
_LENGTH: Final = re.compile(rb"^content-length:\s*(\d+)\s*$", re.IGNORECASE | re.MULTILINE)
_RESET: Final = struct.pack("ii", 1, 0)  # close with a reset, https://man7.org/linux/man-pages/man7/socket.7.html
_JSON: Final = "application/json"
EXCHANGE_PATH: Final = "/selftest/exchange"
"""Where the fakes of Google Cloud give out the token that they are then asked with."""


class FakeProvider:
    """One backend's. It holds no connection longer than one request, so that it can stop listening at any time."""

    def __init__(self, backend: str, spoken: Sequence[Spoken], scenarios: Scenarios, secret: str) -> None:
        self.backend = backend
        # https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token
        self._token = json.dumps(
            {
                "access_token": secret,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": 3_600,
            }
        ).encode()
        self._spoken = spoken
        self._scenarios = scenarios
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()
        self.port = 0
        self.down: Fault | None = None
        """What it does with every request, whatever was told for that."""

    async def listen(self) -> None:
        """At the first time on a free port, later on the same one again."""
        self._server = await asyncio.start_server(self._serve, _LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Refuse connections until ``listen``."""
        if self._server is not None:
            self._server.close()

    async def stop(self) -> None:
        """For good, whatever is under way."""
        self.refuse()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._answer(reader, writer)
        finally:
            writer.close()
            if task is not None:
                self._running.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head.replace(b"\r\n", b"\n"))
        body = await reader.readexactly(int(length[1])) if length else b""
        path = head.split(b" ", 2)[1].decode("latin-1").partition("?")[0]
        scenario = self._scenarios.find(body)
        spoken = next((operation for operation in self._spoken if operation.path.search(path)), None)
        if scenario is None or spoken is None:
            # A token, a health check, or a path that its provider does not have.
            said = self._token if path == EXCHANGE_PATH else b"{}"
            writer.write(_head(404 if body and path != EXCHANGE_PATH else 200, _JSON, len(said)) + said)
            await writer.drain()
            return
        stream = _wants_stream(path, body) and bool(spoken.events)
        told = scenario.ask(self.backend)
        reply = _Reply(writer, spoken, stream=stream)
        await reply.act(self.down or told, late=scenario.late, gone=reader)


def _wants_stream(path: str, body: bytes) -> bool:
    return re.search(rb'"stream"\s*:\s*true', body) is not None or "stream" in path.rpartition("/")[2].lower()


class _Reply:
    def __init__(self, writer: asyncio.StreamWriter, spoken: Spoken, *, stream: bool) -> None:
        self._writer = writer
        self._spoken = spoken
        self._stream = stream

    async def act(self, fault: Fault, *, late: float, gone: asyncio.StreamReader) -> None:
        """Until there is nothing left to say, or for silence until the gateway leaves."""
        match fault.act:
            case Act.STATUS | Act.STATUS_ONCE:
                self._whole(fault.status, self._spoken.errors[fault.error], fault.retry_after)
            case Act.RESET:
                self._reset()
                return
            case Act.SILENCE:
                await gone.read()
                return
            case Act.HEADERS_ONLY:
                self._writer.write(_head(200, self._spoken.content_type if self._stream else _JSON, None))
                await gone.read()
                return
            case Act.ERROR_IN_BAND if self._stream:
                self._events([self._spoken.error_event])
            case Act.ERROR_IN_BAND:
                self._whole(200, self._spoken.errors["in_band"])
            case Act.CUT | Act.STALL | Act.GARBLE | Act.RESET_MIDWAY:
                await self._break(fault.act, gone)
                return
            case Act.ANSWER | Act.ANSWER_LATE:
                await asyncio.sleep(late if fault.act is Act.ANSWER_LATE else 0)
                if self._stream:
                    self._events(self._spoken.events)
                else:
                    self._whole(200, self._spoken.reply)
        await self._writer.drain()

    def _whole(self, status: int, body: bytes, retry_after: int | None = None) -> None:
        self._writer.write(_head(status, _JSON, len(body), retry_after) + body)

    def _events(self, events: Sequence[bytes]) -> None:
        self._writer.write(_head(200, self._spoken.content_type, None) + b"".join(map(_chunk, events)) + _chunk(b""))

    async def _break(self, act: Act, gone: asyncio.StreamReader) -> None:
        """The first half of a good answer, and then what the fault is."""
        for part in self._first_half():
            self._writer.write(part)
            await self._writer.drain()
        if act is Act.RESET_MIDWAY:
            # Late enough for what was sent to be read: a reset throws away what still waits.
            await asyncio.sleep(0.2)
            self._reset()
        elif act is Act.STALL:
            await gone.read()
        else:
            garbage = _chunk(self._spoken.garbled) if act is Act.GARBLE else b""
            self._writer.write(garbage + _chunk(b""))
            await self._writer.drain()

    def _first_half(self) -> Iterator[bytes]:
        yield _head(200, self._spoken.content_type if self._stream else _JSON, None)
        if self._stream:
            yield from map(_chunk, self._spoken.events[: len(self._spoken.events) // 2])
        else:
            yield _chunk(self._spoken.reply[: len(self._spoken.reply) // 2])

    def _reset(self) -> None:
        bound = self._writer.get_extra_info("socket")
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()


def _head(status: int, content_type: str, length: int | None, retry_after: int | None = None) -> bytes:
    """Without a length the body comes in chunks."""
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    wait = "" if retry_after is None else f"retry-after: {retry_after}\r\n"
    return (
        f"HTTP/1.1 {status} Told\r\ncontent-type: {content_type}\r\n{wait}{framing}\r\nconnection: close\r\n\r\n"
    ).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
