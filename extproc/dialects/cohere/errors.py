"""What Cohere's errors mean: a status and a sentence, in a reply and at the end of a stream. https://docs.cohere.com/reference/errors"""

from __future__ import annotations

import re
from typing import Final

import orjson

from extproc.dialects.base import UpstreamReply
from extproc.dialects.error_text import CODE_BY_STATUS, LONGEST_MESSAGE, plain_text, type_of_status
from extproc.errors import UpstreamError

_CONTEXT_LENGTH: Final = re.compile(r"too many tokens|exceeds? the (?:model'?s )?context|context length", re.IGNORECASE)
_MODEL: Final = re.compile(r"\bmodel\b", re.IGNORECASE)
_CONTENT_FILTER: Final = re.compile(r"blocked (?:input|output)|safety mode|toxic", re.IGNORECASE)
# Statuses of its own, as others tell the same: a token that is none, and a request given up, which may be tried again.
_STATUS: Final = {498: 401, 499: 503}


def error_from_reply(reply: UpstreamReply) -> UpstreamError:
    """An unsuccessful reply; HTML and empty bodies included."""
    text = _message(reply.body)
    return error(reply.status, plain_text(reply) if text is None else text, reply.headers.get("retry-after"))


def error(status: int, text: str, retry_after: str | None = None) -> UpstreamError:
    """The error that a status and a sentence tell."""
    told = status
    status = _STATUS.get(status, status)
    code = CODE_BY_STATUS.get(status)
    if status == 402:
        # The operator's account is empty, told as OpenAI tells it.
        status, code = 429, "insufficient_quota"
    elif status == 404:
        code = "model_not_found" if _MODEL.search(text) else code
    elif status in {400, 413, 422} and _CONTEXT_LENGTH.search(text):
        code = "context_length_exceeded"
    elif status in {400, 422} and _CONTENT_FILTER.search(text):
        code = "content_filter"
    return UpstreamError(
        text.strip()[:LONGEST_MESSAGE] or f"The provider answered with status {told} and no message.",
        status=status,
        type=type_of_status(status),
        code=code,
        retry_after=retry_after,
    )


def _message(body: bytes) -> str | None:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(parsed, dict):
        return None
    message = parsed.get("message") or parsed.get("data")
    return message if isinstance(message, str) else ""
