"""Thresholds told to a real server: signed, repeated until they are taken, always under the same name."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac

import pytest

from extproc.admission.judgement import Passed
from extproc.quota import webhook
from extproc.quota.webhook import Receiver, Webhooks

EVENT = Passed(budget="b", percent=80, counter="budget//b/USD/acme", slot=7, ends=9.0)


async def test_a_threshold_is_told_until_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here at the third time."""
    monkeypatch.setattr(webhook, "_FIRST_WAIT", 0.01)
    seen: list[tuple[dict[str, str], bytes]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
        seen.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = "204 No Content" if len(seen) == 3 else "503 Busy"
        writer.write(f"HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    hooks = Webhooks(lambda: {"b": Receiver(url=url, secret=lambda: "shared")})
    running = asyncio.create_task(hooks.run())
    hooks.passed(EVENT)
    async with asyncio.timeout(20):
        while len(seen) < 3:  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0.01)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    server.close()
    await server.wait_closed()
    headers, body = seen[0]
    assert {request[0]["idempotency-key"] for request in seen} == {headers["idempotency-key"]}
    stamp, _, digest = headers["x-kortex-signature"].partition(",v1=")
    signed = stamp.removeprefix("t=").encode() + b"." + body
    assert digest == hmac.new(b"shared", signed, hashlib.sha256).hexdigest()
    assert b'"percent":80' in body
