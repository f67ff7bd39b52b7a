"""What a fake provider says, by dialect: a healthy reply, a healthy stream and errors, one file each."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import orjson

from extproc.framing.event_stream import CONTENT_TYPE

_FOLDER: Final = Path(__file__).parent / "dialects"
_STRING: Final = 7
"""The type of a header in AWS's event stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """One operation of a dialect. ``events`` are a whole healthy stream, as bytes; empty where nothing is streamed."""

    path: re.Pattern[str]
    reply: bytes
    events: tuple[bytes, ...]
    content_type: str
    """Of the stream."""
    error_event: bytes
    """The error that comes in place of a stream's first event."""
    garbled: bytes
    """What is no event."""
    errors: Mapping[str, bytes]
    """Bodies: ``any``, ``in_band``, ``context_length`` and ``content_filter``."""


@cache
def read_dialect(name: str) -> tuple[Spoken, ...]:
    """The operations of a dialect, by its name in ``Provider.offers``. Raises FileNotFoundError for an unknown one."""
    written: dict[str, Any] = orjson.loads((_FOLDER / f"{name}.json").read_bytes())
    write, content_type, garbled = _FRAMINGS[written.get("framing", "sse")]
    error_event = written.get("error_event", {"event": "error", "data": written["errors"]["in_band"]})
    return tuple(
        Spoken(
            path=re.compile(operation["path"]),
            reply=orjson.dumps(operation["reply"]),
            events=tuple(map(write, operation.get("events", ()))),
            content_type=content_type,
            error_event=write(error_event),
            garbled=garbled,
            errors={kind: orjson.dumps(body) for kind, body in written["errors"].items()},
        )
        for operation in written["operations"]
    )


def _server_sent(event: Mapping[str, Any]) -> bytes:
    """``{"event": name, "data": value}``; data that is text stands as it is."""
    data = event["data"]
    name = f"event: {event['event']}\n" if "event" in event else ""
    text = data if isinstance(data, str) else orjson.dumps(data).decode()
    return f"{name}data: {text}\n\n".encode()


def _message(event: Mapping[str, Any]) -> bytes:
    """The same, or ``{"exception": name, …}``, as a message of ``extproc.framing.event_stream``.

    ``bytes`` in place of ``data`` is a value that AWS wraps.
    """
    payload = {"bytes": b64encode(orjson.dumps(event["bytes"])).decode()} if "bytes" in event else event["data"]
    kind = "exception" if "exception" in event else "event"
    names = {":message-type": kind, f":{kind}-type": event[kind], ":content-type": "application/json"}
    headers = b"".join(
        bytes([len(name)]) + name.encode() + bytes([_STRING]) + len(value).to_bytes(2) + value.encode()
        for name, value in names.items()
    )
    data = orjson.dumps(payload)
    lengths = (16 + len(headers) + len(data)).to_bytes(4) + len(headers).to_bytes(4)
    body = lengths + crc32(lengths).to_bytes(4) + headers + data
    return body + crc32(body).to_bytes(4)


_FRAMINGS: Final[Mapping[str, tuple[Callable[[Mapping[str, Any]], bytes], str, bytes]]] = {
    "sse": (_server_sent, "text/event-stream", b'data: {"garbled\n\n'),
    "event_stream": (_message, CONTENT_TYPE, b"\xff" * 32),
}
