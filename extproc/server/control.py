"""How the supervisor and its workers talk: one JSON object a line over a socket pair."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field, fields
from typing import Any, Final

import orjson

_LONGEST_LINE: Final = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure:
    """To a worker: know this config, whose targets another worker may plan with as soon as all know them.

    The text itself is sent, and what the files beside it held, so that all workers serve the same: also one that comes
    back when the files have changed and are not in force, or are broken.
    """

    number: int
    text: str
    files: dict[str, str] = field(default_factory=dict, repr=False)
    """By path. They hold secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """To a worker: plan new requests with the config of this number, which it knows."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """To a worker: report not serving, and end when nothing is left or ``grace`` seconds are over."""

    grace: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """From a worker: the config of this number is known or, if that was asked, serves; or ``problem``: why not."""

    number: int
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """From a worker, now and then: what it was asked takes a while; the answer follows."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """From a worker, on the board's own line: what it has seen of the backends since it last told.

    ``observations`` are the fields of ``extproc.routing.board.Observation``; ``in_flight`` counts its attempts
    under way by backend; ``probes`` names the backends that it has sent a probe to.
    """

    observations: list[dict[str, Any]]
    in_flight: dict[str, int]
    probes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """To a worker, on the board's own line: by backend the fields of ``extproc.routing.health.BackendState``.

    Only of those that have changed.
    """

    states: dict[str, dict[str, Any]]


Message = Configure | Serve | Drain | Configured | Working | Seen | Known
_KINDS: Final[dict[str, type[Message]]] = {
    kind.__name__: kind for kind in (Configure, Serve, Drain, Configured, Working, Seen, Known)
}


class Channel:
    """One end of the line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, message: Message) -> None:
        """Raises ConnectionError when the other side is gone."""
        self.post(message)
        await self._writer.drain()

    def post(self, message: Message) -> None:
        """The same without waiting until it is on its way; one to somebody who is gone is lost."""
        if not self._writer.is_closing():
            # Shallow: asdict would copy every observation once more.
            told = {field.name: getattr(message, field.name) for field in fields(message)}
            line = {"kind": type(message).__name__, **told}
            self._writer.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    async def receive(self) -> Message | None:
        """The next message; None when the other side is gone."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        if not line:
            return None
        told = orjson.loads(line)
        return _KINDS[told.pop("kind")](**told)

    def close(self) -> None:
        """The other side's ``receive`` gives None."""
        self._writer.close()


async def open_channel(end: socket.socket) -> Channel:
    """A Channel over one end of a socket pair."""
    return Channel(*await asyncio.open_connection(sock=end, limit=_LONGEST_LINE))
