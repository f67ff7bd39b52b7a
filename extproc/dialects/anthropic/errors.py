"""What Anthropic's errors mean, as a status, inside a 200 and in a stream: https://platform.claude.com/docs/en/api/errors"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from extproc.dialects.base import UpstreamReply
from extproc.dialects.error_text import CODE_BY_STATUS, LONGEST_MESSAGE, plain_text, type_of_status
from extproc.errors import UpstreamError

_STATUS_BY_TYPE: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_DEFAULT_STATUS: Final = 500
_CONTEXT_LENGTH: Final = re.compile(
    r"prompt is too long|exceeds? (?:the )?(?:model'?s? )?context|input length and `?max_tokens`? exceed", re.IGNORECASE
)
_CONTENT_FILTER: Final = re.compile(r"content filter", re.IGNORECASE)
# Told as a 400 although nothing is wrong with the request: the operator's account is empty or at its own limit.
_NO_MONEY: Final = re.compile(r"credit balance|spend limit|usage limits|billing", re.IGNORECASE)


def error_from_reply(reply: UpstreamReply) -> UpstreamError:
    """An unsuccessful reply; HTML and empty bodies included."""
    error = _error_object(reply.body)
    retry_after = reply.headers.get("retry-after")
    if error is None:
        return _error(reply.status, {"message": plain_text(reply)}, retry_after)
    return _error(reply.status, error, retry_after)


def in_band_error(fields: Mapping[str, Any]) -> UpstreamError | None:
    """The error that a 200's JSON object, or a stream's event, is; None when it is none."""
    if fields.get("type") != "error":
        return None
    error = fields.get("error")
    details = error if isinstance(error, dict) else {}
    return _error(_STATUS_BY_TYPE.get(str(details.get("type")), _DEFAULT_STATUS), details, None)


def _error_object(body: bytes) -> Mapping[str, Any] | None:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else None


def _error(status: int, error: Mapping[str, Any], retry_after: str | None) -> UpstreamError:
    given = error.get("message")
    text = given.strip()[:LONGEST_MESSAGE] if isinstance(given, str) else ""
    kind = error.get("type")
    code = CODE_BY_STATUS.get(status)
    if status == 402 or (status == 400 and _NO_MONEY.search(text)):
        # As OpenAI tells it, so that clients and failover treat it alike.
        status, code = 429, "insufficient_quota"
    elif status == 404:
        code = "model_not_found" if text.startswith("model:") else code
    elif status in {400, 413} and _CONTEXT_LENGTH.search(text):
        code = "context_length_exceeded"
    elif status == 400 and _CONTENT_FILTER.search(text):
        code = "content_filter"
    elif code is None and isinstance(kind, str) and kind not in {"invalid_request_error", "api_error"}:
        code = kind
    return UpstreamError(
        text or f"The provider answered with status {status} and no message.",
        status=status,
        type=type_of_status(status),
        code=code,
        retry_after=retry_after,
    )
