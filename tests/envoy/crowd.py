"""Many clients at once: all have connected, and all have sent their requests, before anybody reads a reply."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

_CONNECTING: Final = 100
_GLANCE: Final = 0.02
_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one of them was told; ``body`` is as it came."""

    status: int
    body: bytes

    @property
    def code(self) -> str | None:
        """Of an error."""
        return None if self.status < 400 else str(orjson.loads(self.body)["error"]["code"])


def ask_at_once(
    ports: Sequence[int],
    requests: Sequence[bytes],
    *,
    at_work: Callable[[], int] = lambda: 0,
    release: threading.Event | None = None,
) -> list[Answered]:
    """The requests' replies, in their order; the requests go to the ``ports`` in turns.

    ``release`` is set as soon as each of them has been answered or is one of those that are ``at_work``.
    """
    return asyncio.run(_ask_all(ports, requests, at_work, release))


def post(body: dict[str, Any], secret: str) -> bytes:
    """A chat call on a connection of its own."""
    content = orjson.dumps(body)
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        "host: kortex",
        "connection: close",
        "content-type: application/json",
        f"content-length: {len(content)}",
        f"authorization: Bearer {secret}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + content


async def _ask_all(
    ports: Sequence[int], requests: Sequence[bytes], at_work: Callable[[], int], release: threading.Event | None
) -> list[Answered]:
    connecting = asyncio.Semaphore(_CONNECTING)

    async def connect(number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with connecting:
            return await asyncio.open_connection("127.0.0.1", ports[number % len(ports)])

    async with asyncio.timeout(_PATIENCE):
        connections = await asyncio.gather(*map(connect, range(len(requests))))
        for (_, writer), request in zip(connections, requests, strict=True):
            writer.write(request)
        reading = [asyncio.create_task(_read(reader)) for reader, _ in connections]
        while release is not None and sum(task.done() for task in reading) + at_work() < len(requests):  # noqa: ASYNC110  they are at work in other threads
            await asyncio.sleep(_GLANCE)
        if release is not None:
            release.set()
        answered = await asyncio.gather(*reading)
        for _, writer in connections:
            writer.close()
        return answered


async def _read(reader: asyncio.StreamReader) -> Answered:
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    return Answered(status=int(head.split(b" ", 2)[1]), body=body)
