"""One call, made as a client makes it, and what the client saw."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import httpx
import orjson

from extproc.exchange.trail import read_trail
from extproc.headers import BACKEND, TRAIL

_DONE: Final = b"[DONE]"


class Ending(StrEnum):
    """How a call ended, for somebody who has only the bytes."""

    ANSWER = "answer"
    ERROR = "error"
    """In OpenAI's shape, with an error's status."""
    ERROR_EVENT = "error event"
    """A stream that says itself that it failed, and has no [DONE]."""
    CUT = "connection cut"
    HANG = "no end"
    UNTRUE = "untrue"
    """A stream that claims to be whole and is not, or ends without a word; an error of no known shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """``status`` is None when no headers came. ``trail`` are the attempts before the last, ``backend=outcome``."""

    ending: Ending
    status: int | None = None
    backend: str | None = None
    trail: tuple[str, ...] = ()
    code: str | None = None
    message: str = ""
    seconds: float = 0.0
    leaked: bool = False
    """Whether it could read the gateway's credential."""

    @property
    def attempts(self) -> int:
        """Backends that were tried."""
        return len(self.trail) + (self.status is not None)


class Client:
    """Calls the gateway at ``host:port``. ``secret`` is what no client may ever see."""

    def __init__(self, address: str, secret: str) -> None:
        self._http = httpx.AsyncClient(base_url=f"http://{address}/v1", trust_env=False)
        self._secret = secret.encode()

    async def close(self) -> None:
        """Its connections."""
        await self._http.aclose()

    async def call(
        self, path: str, body: Mapping[str, Any], *, within: float, headers: Mapping[str, str] | None = None
    ) -> Seen:
        """``within`` are the seconds after which it gives up."""
        began = time.monotonic()
        head: httpx.Response | None = None
        received = b""
        try:
            async with self._http.stream("POST", path, json=body, headers=headers, timeout=within) as head:
                async for part in head.aiter_raw():
                    received += part
                    if time.monotonic() - began > within:
                        return self._seen(Ending.HANG, head, received, began)
        except httpx.TimeoutException:
            return self._seen(Ending.HANG, head, received, began)
        except httpx.TransportError:
            return self._seen(Ending.CUT, head, received, began)
        return self._seen(None, head, received, began)

    def _seen(self, ending: Ending | None, head: httpx.Response | None, received: bytes, began: float) -> Seen:
        seconds = time.monotonic() - began
        if head is None:
            return Seen(ending=ending or Ending.HANG, seconds=seconds)
        streamed = head.headers.get("content-type", "").startswith("text/event-stream")
        found, error = read_stream(received) if streamed else read_whole(head.status_code, received)
        trail = tuple(f"{attempt.backend}={attempt.outcome}" for attempt in read_trail(head.headers.get(TRAIL)))
        return Seen(
            ending=ending or found,
            status=head.status_code,
            backend=head.headers.get(BACKEND),
            trail=trail,
            code=_text(error.get("code")),
            message=_text(error.get("message")) or "",
            seconds=seconds,
            leaked=self._secret in received or self._secret in repr(head.headers.raw).encode(),
        )


def read_whole(status: int, body: bytes) -> tuple[Ending, Mapping[str, Any]]:
    """What a whole reply is, and its error."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Ending.UNTRUE, {}
    error = value.get("error") if isinstance(value, dict) else None
    if status >= 400 and isinstance(error, dict) and error.get("message") and error.get("type"):
        return Ending.ERROR, error
    answered = (
        status == 200 and error is None and isinstance(value, dict) and (value.get("choices") or value.get("data"))
    )
    return (Ending.ANSWER if answered else Ending.UNTRUE), {}


def read_stream(body: bytes) -> tuple[Ending, Mapping[str, Any]]:
    """What a stream that has come to its end is, and its error."""
    error: Mapping[str, Any] = {}
    finished = False
    done = False
    for line in body.splitlines():
        data = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:"):
            continue
        if data == _DONE:
            done = True
            continue
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            return Ending.UNTRUE, {}
        if isinstance(event.get("error"), dict):
            error = event["error"]
        finished = finished or any(choice.get("finish_reason") for choice in event.get("choices") or ())
    if error:
        return (Ending.UNTRUE if done else Ending.ERROR_EVENT), error
    return (Ending.ANSWER if done and finished else Ending.UNTRUE), {}


def _text(value: object) -> str | None:
    return None if value is None else str(value)
