"""What a fake does with one request: a reply as steps that faults transform before any byte is written."""

from __future__ import annotations

import enum
import json
import threading
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
HeaderList: TypeAlias = tuple[tuple[str, str], ...]

EVENT_STREAM = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Send:
    """Write ``payload`` and wait until the kernel has taken it; ``counted``: ``events=n`` of a fault counts it."""

    payload: bytes
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Sleep:
    """Send nothing for ``seconds``; a peer that leaves meanwhile is noticed at once."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hang:
    """Send nothing more, ever: only the peer's leaving or the fake's end finishes the request."""


@dataclass(frozen=True, slots=True)
class Await:
    """Send nothing until the test, in its own thread, sets ``event``."""

    event: threading.Event


@dataclass(frozen=True, slots=True)
class Reset:
    """Wait until the peer's kernel has everything sent so far, then end the connection with a TCP RST."""


@dataclass(frozen=True, slots=True)
class Fin:
    """End the connection in order (TCP FIN, with TLS a close_notify before it)."""


Step: TypeAlias = Send | Sleep | Hang | Await | Reset | Fin


def silence(seconds: float | None) -> Step:
    """Silence for ``seconds``, or for ever (None)."""
    return Hang() if seconds is None else Sleep(seconds)


class Framing(enum.Enum):
    """How the peer learns where the body ends: https://www.rfc-editor.org/rfc/rfc9112#section-6.3."""

    LENGTH = "content-length"
    CHUNKED = "chunked"
    CLOSE = "the connection's end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One reply before it is cut into bytes.

    ``before`` runs ahead of the status line. ``body`` holds whole events (a JSON document counts as one). ``coding``
    and ``sizes`` say how ``wire.render`` encodes and cuts the body, ``pause`` how many seconds lie between the cuts;
    ``length_error`` is added to the true content-length.
    """

    status: int
    headers: HeaderList
    body: tuple[Step, ...]
    before: tuple[Step, ...] = ()
    framing: Framing = Framing.LENGTH
    trailers: HeaderList = ()
    coding: str | None = None
    sizes: tuple[int, ...] = ()
    pause: float = 0.0
    length_error: int = 0

    @property
    def is_stream(self) -> bool:
        """Whether the body is a stream of server-sent events."""
        return any(name == "content-type" and value.startswith("text/event-stream") for name, value in self.headers)

    def with_headers(self, *headers: tuple[str, str]) -> Reply:
        """The same reply with ``headers`` (lower-case names) in place of those of the same name."""
        names = {name for name, _ in headers}
        return replace(self, headers=(*(pair for pair in self.headers if pair[0] not in names), *headers))

    def position_after(self, events: int) -> int:
        """Index in ``body`` right behind the ``events``-th counted Send; ValueError when there are fewer."""
        if events == 0:
            return 0
        seen = 0
        for index, step in enumerate(self.body):
            seen += isinstance(step, Send) and step.counted
            if seen == events:
                return index + 1
        raise ValueError(f"a fault waits for {events} events, but the reply has only {seen}")

    def insert(self, events: int, *steps: Step) -> Reply:
        """The same reply with ``steps`` right behind the ``events``-th event; ValueError when there are fewer."""
        position = self.position_after(events)
        return replace(self, body=(*self.body[:position], *steps, *self.body[position:]))

    def truncate(self, events: int) -> Reply:
        """The same reply without what follows the ``events``-th event; ValueError when there are fewer."""
        return replace(self, body=self.body[: self.position_after(events)])


def compact(document: object) -> bytes:
    """JSON in UTF-8 as providers write it in streams: no spaces, no escapes for letters outside ASCII."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def event(document: object) -> Send:
    """One server-sent event whose data is ``document`` as JSON."""
    return Send(b"data: " + compact(document) + b"\n\n")


DONE = Send(b"data: [DONE]\n\n")


def json_reply(document: Json, *, status: int = 200, headers: HeaderList = ()) -> Reply:
    """A whole JSON reply, indented as OpenAI does, so that nothing may depend on compact JSON."""
    payload = json.dumps(document, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"
    return Reply(status=status, headers=(("content-type", "application/json"), *headers), body=(Send(payload),))


def event_reply(*events: Step, headers: HeaderList = ()) -> Reply:
    """A streamed reply made of ``events``, as given: without an added [DONE]."""
    return Reply(
        status=200,
        headers=(("content-type", EVENT_STREAM), ("cache-control", "no-cache"), *headers),
        body=events,
        framing=Framing.CHUNKED,
    )
