"""What Google's errors mean, as a status, inside a 200 and in a stream: https://cloud.google.com/apis/design/errors

And https://ai.google.dev/gemini-api/docs/troubleshooting
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from extproc.dialects.base import UpstreamReply
from extproc.dialects.error_text import CODE_BY_STATUS, LONGEST_MESSAGE, plain_text, type_of_status
from extproc.errors import UpstreamError

# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
_STATUS_BY_NAME: Final = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_DEFAULT_STATUS: Final = 500
_GENERIC: Final = frozenset({"INVALID_ARGUMENT", "INTERNAL", "UNKNOWN"})
_CONTEXT_LENGTH: Final = re.compile(
    r"input token count|exceeds? the maximum number of (?:input )?tokens|context (?:length|window)", re.IGNORECASE
)
_MODEL: Final = re.compile(r"\bmodels?\b", re.IGNORECASE)
_BAD_KEY: Final = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED"})
_NO_MONEY: Final = re.compile(r"prepayment credits|billing account|spend(?:ing)? (?:cap|limit)", re.IGNORECASE)
_NOT_HERE: Final = re.compile(r"location is not supported", re.IGNORECASE)
_DELAY: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")


def error_from_reply(reply: UpstreamReply) -> UpstreamError:
    """An unsuccessful reply; HTML and empty bodies included."""
    error = _error_object(reply.body)
    retry_after = reply.headers.get("retry-after")
    if error is None:
        return _error(reply.status, {"message": plain_text(reply)}, retry_after)
    return _error(reply.status, error, retry_after)


def in_band_error(fields: Mapping[str, Any]) -> UpstreamError | None:
    """The error that a 200's JSON object, or a stream's event, is; None when it is none."""
    error = fields.get("error")
    if error is None:
        return None
    details = error if isinstance(error, dict) else {}
    code = details.get("code")
    status = _STATUS_BY_NAME.get(str(details.get("status")))
    if status is None:
        status = code if isinstance(code, int) and 400 <= code <= 599 else _DEFAULT_STATUS
    return _error(status, details, None)


def _error_object(body: bytes) -> Mapping[str, Any] | None:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(parsed, list) and parsed:  # as a method that streams answers
        parsed = parsed[0]
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else None


def _error(status: int, error: Mapping[str, Any], retry_after: str | None) -> UpstreamError:
    given = error.get("message")
    text = given.strip()[:LONGEST_MESSAGE] if isinstance(given, str) else ""
    name = error.get("status")
    code = CODE_BY_STATUS.get(status)
    if status == 400 and not _BAD_KEY.isdisjoint(_reasons(error)):
        # A wrong key is told as a wrong argument.
        status, code = 401, "invalid_api_key"
    elif status == 404:
        code = "model_not_found" if _MODEL.search(text) else code
    elif status in {400, 413} and _CONTEXT_LENGTH.search(text):
        code = "context_length_exceeded"
    elif status in {400, 403, 429} and _NO_MONEY.search(text):
        status, code = 429, "insufficient_quota"
    elif status == 400 and _NOT_HERE.search(text):
        # As OpenAI tells it: the request is in order, and where the gateway runs is not.
        status, code = 403, "unsupported_country_region_territory"
    elif code is None and isinstance(name, str) and name not in _GENERIC:
        code = name.lower()
    return UpstreamError(
        text or f"The provider answered with status {status} and no message.",
        status=status,
        type=type_of_status(status),
        code=code,
        retry_after=retry_after or _retry_delay(error),
    )


def _details(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto"""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            yield detail


def _reasons(error: Mapping[str, Any]) -> set[str]:
    """Of google.rpc.ErrorInfo."""
    return {str(detail.get("reason")) for detail in _details(error)}


def _retry_delay(error: Mapping[str, Any]) -> str | None:
    """Of google.rpc.RetryInfo: ``"34.07s"``, in the whole seconds of Retry-After."""
    for detail in _details(error):
        found = _DELAY.fullmatch(str(detail.get("retryDelay")))
        if found is not None:
            return str(math.ceil(float(found[1])))
    return None
