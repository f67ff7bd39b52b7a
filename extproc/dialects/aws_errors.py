"""What AWS's exceptions mean, as a status, as a header and in a stream.

https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from extproc.dialects.base import UpstreamReply
from extproc.dialects.error_text import CODE_BY_STATUS, LONGEST_MESSAGE, plain_text, type_of_status
from extproc.errors import UpstreamError
from extproc.framing.sse import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meaning:
    """``code`` None: what the status says."""

    status: int
    code: str | None = None


_UNKNOWN: Final = _Meaning(status=500)
# 424 is "failed dependency": the model, not the request, so it is told as what another backend may do better.
_MEANINGS: Final[Mapping[str, _Meaning]] = {
    "AccessDeniedException": _Meaning(status=403),
    "ExpiredTokenException": _Meaning(status=403),
    "IncompleteSignatureException": _Meaning(status=403),
    "InternalServerException": _Meaning(status=500),
    "InvalidSignatureException": _Meaning(status=403),
    "MissingAuthenticationTokenException": _Meaning(status=403),
    "ModelErrorException": _Meaning(status=502, code="model_error"),
    "ModelNotReadyException": _Meaning(status=503, code="model_not_ready"),
    "ModelStreamErrorException": _Meaning(status=502, code="model_error"),
    "ModelTimeoutException": _Meaning(status=504),
    "ResourceNotFoundException": _Meaning(status=404, code="model_not_found"),
    "ServiceQuotaExceededException": _Meaning(status=429, code="insufficient_quota"),
    "ServiceUnavailableException": _Meaning(status=503),
    "ThrottlingException": _Meaning(status=429),
    "UnrecognizedClientException": _Meaning(status=403),
    "ValidationException": _Meaning(status=400),
}
_CONTEXT_LENGTH: Final = re.compile(
    r"input is too long|prompt is too long|too many (?:input )?tokens|input tokens exceeded|maximum context length"
    r"|exceeds? (?:the )?(?:model'?s? )?(?:maximum )?(?:context|number of input tokens)"
    r"|input length and `?max_tokens`? exceed",
    re.IGNORECASE,
)
_NO_SUCH_MODEL: Final = re.compile(
    r"model identifier is invalid|provided (?:model )?arn is invalid|on-demand throughput isn.t supported"
    r"|end of its life|model is marked by provider as legacy",
    re.IGNORECASE,
)
_CONTENT_FILTER: Final = re.compile(r"content filter", re.IGNORECASE)


def error_from_reply(reply: UpstreamReply) -> UpstreamError:
    """An unsuccessful reply; HTML and empty bodies included."""
    fields = _fields(reply.body)
    name = _name(reply.headers.get("x-amzn-errortype") or fields.get("__type") or fields.get("code"))
    meaning = _MEANINGS.get(name, _Meaning(status=reply.status))
    message = _message(fields) or plain_text(reply)
    return _error(meaning, name, message, reply.headers.get("retry-after"))


def error_from_event(event: Event) -> UpstreamError:
    """An exception or error in a stream, where it is marked as one: ``event.failed``."""
    name = _name((event.event or b"").decode("utf-8", "replace"))
    meaning = _MEANINGS.get(name, _UNKNOWN)
    message = _message(_fields(event.data)) or f"The provider's stream ended with {name or 'an error'}."
    return _error(meaning, name, message, None)


def _name(given: Any) -> str:
    """``com.amazon.coral.service#ThrottlingException:http://…``, and in streams ``throttlingException``."""
    text = given if isinstance(given, str) else ""
    plain = text.partition(":")[0].rpartition("#")[2].strip()
    return plain[:1].upper() + plain[1:]


def _fields(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _message(fields: Mapping[str, Any]) -> str:
    # ModelStreamErrorException says more in its second field.
    for name in ("originalMessage", "message", "Message"):
        text = fields.get(name)
        if isinstance(text, str) and text.strip():
            return text.strip()[:LONGEST_MESSAGE]
    return ""


def _error(meaning: _Meaning, name: str, message: str, retry_after: str | None) -> UpstreamError:
    status, code = meaning.status, meaning.code or CODE_BY_STATUS.get(meaning.status)
    if status in {400, 413} and _CONTEXT_LENGTH.search(message):
        status, code = 400, "context_length_exceeded"
    elif status == 400 and _NO_SUCH_MODEL.search(message):
        status, code = 404, "model_not_found"
    elif status == 400 and _CONTENT_FILTER.search(message):
        code = "content_filter"
    elif code is None and name and name not in _MEANINGS:
        code = name
    return UpstreamError(message, status=status, type=type_of_status(status), code=code, retry_after=retry_after)
