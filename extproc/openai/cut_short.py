"""The end of a stream that is not let go on: as of one that reached its limit of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from extproc.framing.sse import encode_event
from extproc.openai.call import Operation

_KEPT: Final = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
_DATA: Final = b"data: "
DONE: Final = b"[DONE]"


def end_stream(last: bytes, operation: Operation, usage: dict[str, Any] | None, choices: Sequence[int] = ()) -> bytes:
    """``last`` is the newest event sent to the client, which the end continues; ``usage`` where it was asked for.

    ``choices`` are those that end; where none is named, those of the event.
    """
    head, newest = _continued(last)
    ends = [_choice(index, operation) for index in choices or newest]
    events = [encode_event(orjson.dumps({**head, "choices": ends} | ({} if usage is None else {"usage": None})))]
    if usage is not None:
        events.append(encode_event(orjson.dumps({**head, "choices": [], "usage": usage})))
    return b"".join([*events, encode_event(DONE)])


def says_end(last: bytes) -> bool:
    """Whether the newest event says why the answer ended, or ends the stream."""
    fields = _fields(last)
    return fields is None or any(choice.get("finish_reason") for choice in fields.get("choices") or ())


def _choice(index: int, operation: Operation) -> dict[str, Any]:
    said: dict[str, Any] = {"text": ""} if operation is Operation.TEXT_COMPLETION else {"delta": {}}
    return {"index": index, **said, "finish_reason": "length"}


def _continued(last: bytes) -> tuple[dict[str, Any], list[int]]:
    fields = _fields(last) or {}
    choices = fields.get("choices") or [{}]
    return {name: fields[name] for name in _KEPT if name in fields}, [choice.get("index", 0) for choice in choices]


def _fields(last: bytes) -> dict[str, Any] | None:
    """The newest chunk of several; None where that is ``[DONE]``."""
    line = next((line for line in reversed(last.splitlines()) if line.startswith(_DATA)), b"data: {}")
    data = line.removeprefix(_DATA)
    return None if data == DONE else orjson.loads(data)
