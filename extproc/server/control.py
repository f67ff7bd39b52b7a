"""How the supervisor and its workers talk: one JSON object a line over a socket pair."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

_LONGEST_LINE: Final = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure:
    """To a worker: serve this config from now on. The text itself is sent, so that all workers serve the same bytes."""

    number: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """To a worker: report not serving, and end when nothing is left or ``grace`` seconds are over."""

    grace: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """From a worker: the config of this number serves, or ``problem`` says why not."""

    number: int
    problem: str | None = None


Message = Configure | Drain | Configured
_KINDS: Final[dict[str, type[Message]]] = {kind.__name__: kind for kind in (Configure, Drain, Configured)}


class Channel:
    """One end of the line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, message: Message) -> None:
        """Raises ConnectionError when the other side is gone."""
        fields: dict[str, Any] = {"kind": type(message).__name__, **asdict(message)}
        self._writer.write(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE))
        await self._writer.drain()

    async def receive(self) -> Message | None:
        """The next message; None when the other side is gone."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        if not line:
            return None
        fields = orjson.loads(line)
        return _KINDS[fields.pop("kind")](**fields)

    def close(self) -> None:
        """The other side's ``receive`` gives None."""
        self._writer.close()


async def open_channel(end: socket.socket) -> Channel:
    """A Channel over one end of a socket pair."""
    return Channel(*await asyncio.open_connection(sock=end, limit=_LONGEST_LINE))
