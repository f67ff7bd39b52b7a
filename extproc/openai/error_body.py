"""Errors as OpenAI writes them: the JSON body, and the event that ends a broken stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from extproc.errors import KortexError
from extproc.framing.sse import encode_event


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSummary:
    """One line of what was tried: no addresses, no credentials. ``milliseconds`` is None when nobody measured it."""

    backend: str
    outcome: str
    status: int | None
    milliseconds: int | None


def _fields(error: KortexError, attempts: Sequence[AttemptSummary]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        # It may quote a header, and those need not be UTF-8.
        "message": error.message.encode("utf-8", "replace").decode(),
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if attempts:
        fields["attempts"] = [asdict(attempt) for attempt in attempts]
    return fields


def error_body(error: KortexError, attempts: Sequence[AttemptSummary] = ()) -> bytes:
    """``{"error": {"message", "type", "param", "code"}}``, with ``attempts`` where backends were tried.

    https://platform.openai.com/docs/guides/error-codes
    """
    return orjson.dumps({"error": _fields(error, attempts)})


def error_event(error: KortexError) -> bytes:
    """The SSE event that says a stream broke; official SDKs raise APIError on its ``error`` member."""
    return encode_event(orjson.dumps({"error": {**_fields(error, ()), "status": error.status}}))
