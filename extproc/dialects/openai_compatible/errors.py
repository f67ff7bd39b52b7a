"""What an OpenAI-compatible server's error means, in whatever shape the many servers write it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from extproc.dialects.base import UpstreamReply
from extproc.dialects.error_text import CODE_BY_STATUS, LONGEST_MESSAGE, plain_text, type_of_status
from extproc.errors import UpstreamError

_FIRST_ERROR_STATUS: Final = 400
_LAST_STATUS: Final = 599

# An error inside a 200 carries no status of its own: its code or type tells it.
_STATUS_BY_NAME: Final = {
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "content_policy_violation": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "NotFoundError": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "rate_limited": 429,
    "insufficient_quota": 429,
    "tokens": 429,
    "requests": 429,
    "overloaded": 503,
    "overloaded_error": 503,
    "service_unavailable": 503,
    "timeout": 504,
}
_DEFAULT_IN_BAND_STATUS: Final = 500

# Servers that give a 400 no code say it in prose: vLLM, llama.cpp, Ollama, Mistral and older OpenAI models.
_CONTEXT_LENGTH: Final = re.compile(
    r"maximum context length|context[ _](?:length|window|size)|prompt is too long|too many tokens"
    r"|exceeds? the (?:available )?context|longer than the (?:maximum )?model length",
    re.IGNORECASE,
)
_CONTENT_FILTER_CODES: Final = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})

_NAME: Final = re.compile(r"[A-Za-z_][\w.-]*")
_SAYING_NOTHING: Final = frozenset({"invalid_request_error", "BadRequestError", "server_error"})


def error_from_reply(reply: UpstreamReply) -> UpstreamError:
    """An unsuccessful reply → UpstreamError; JSON in any known shape, HTML and empty bodies included."""
    details = _details(_parse(reply.body))
    retry_after = reply.headers.get("retry-after") or _seconds(reply.headers.get("retry-after-ms"))
    if details is None:
        text = plain_text(reply)
        return _error(reply.status, {"message": text}, retry_after)
    return _error(reply.status, details, retry_after)


def in_band_error(fields: Mapping[str, Any]) -> UpstreamError | None:
    """The error that a 200's JSON object carries; None when it carries none."""
    if not fields.get("error") and fields.get("object") != "error":
        return None
    details = _details(fields) or {}
    return _error(_in_band_status(details), details, None)


def _parse(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _details(parsed: object) -> Mapping[str, Any] | None:
    """OpenAI ``{"error": {…}}``, vLLM and Mistral ``{"object": "error", "message": …}``, FastAPI ``{"detail": …}``,

    Ollama ``{"error": "…"}``, and lists around any of them.
    """
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        return None
    error = parsed.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str) and error:
        return {**parsed, "message": error}
    detail = parsed.get("detail")
    if detail is not None and "message" not in parsed:
        return {"message": detail if isinstance(detail, str) else orjson.dumps(detail).decode()}
    return parsed if "message" in parsed else None


def _error(status: int, details: Mapping[str, Any], retry_after: str | None) -> UpstreamError:
    message = details.get("message")
    text = message if isinstance(message, str) else orjson.dumps(message).decode() if message else ""
    text = text.strip()[:LONGEST_MESSAGE] or f"The provider answered with status {status} and no message."
    code = _text(details.get("code")) or _text(details.get("type"))
    if code is None or not _NAME.fullmatch(code) or code in _SAYING_NOTHING:
        code = CODE_BY_STATUS.get(status)
    if status == 402:
        # The operator's account is empty, told as OpenAI tells it: https://api-docs.deepseek.com/quick_start/error_codes
        status, code = 429, "insufficient_quota"
    elif status == 413 and code == "rate_limit_exceeded":
        # Larger than the account's tokens per minute: https://console.groq.com/docs/errors
        status = 429
    if code in _CONTENT_FILTER_CODES or _inner_code(details) in _CONTENT_FILTER_CODES:
        code = "content_filter"
    elif status in {400, 413, 422} and (code == "context_length_exceeded" or _CONTEXT_LENGTH.search(text)):
        code = "context_length_exceeded"
    return UpstreamError(
        text,
        status=status,
        type=type_of_status(status),
        code=code,
        param=_text(details.get("param")),
        retry_after=retry_after,
    )


def _inner_code(details: Mapping[str, Any]) -> str | None:
    inner = details.get("innererror")
    return _text(inner.get("code")) if isinstance(inner, dict) else None


def _in_band_status(details: Mapping[str, Any]) -> int:
    for name in ("code", "status", "status_code"):
        value = details.get(name)
        number = int(value) if isinstance(value, str) and value.isdigit() else value
        if isinstance(number, int) and _FIRST_ERROR_STATUS <= number <= _LAST_STATUS:
            return number
    for name in ("code", "type"):
        status = _STATUS_BY_NAME.get(_text(details.get(name)) or "")
        if status is not None:
            return status
    return _DEFAULT_IN_BAND_STATUS


def _seconds(milliseconds: str | None) -> str | None:
    """Azure's finer hint in the unit of Retry-After, rounded up."""
    return str(-(-int(milliseconds) // 1_000)) if milliseconds and milliseconds.isdigit() else None


def _text(value: object) -> str | None:
    if isinstance(value, bool) or value is None:
        return None
    return str(value) if isinstance(value, (str, int)) and value != "" else None
