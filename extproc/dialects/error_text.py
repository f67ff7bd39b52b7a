"""What an error says when its body is not the provider's JSON, and what its status alone means in OpenAI's words."""

from __future__ import annotations

from typing import Final

from extproc.dialects.base import UpstreamReply

LONGEST_MESSAGE: Final = 2_000
"""Characters of a provider's sentence that a client is shown."""

# https://platform.openai.com/docs/guides/error-codes; 529 is "overloaded" at several providers.
_TYPE_BY_STATUS: Final = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
CODE_BY_STATUS: Final = {
    401: "invalid_api_key",
    404: "not_found",
    408: "timeout",
    413: "request_too_large",
    429: "rate_limit_exceeded",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
_FIRST_SERVER_ERROR: Final = 500


def type_of_status(status: int) -> str:
    """OpenAI's ``error.type`` for a status."""
    known = _TYPE_BY_STATUS.get(status)
    return known or ("server_error" if status >= _FIRST_SERVER_ERROR else "invalid_request_error")


def plain_text(reply: UpstreamReply) -> str:
    """What a body that is not an API's error says: its text, or that it is empty, or a web page."""
    content_type = reply.headers.get("content-type", "")
    text = reply.body.decode("utf-8", "replace").strip()
    if not text:
        return f"The provider answered with status {reply.status} and an empty body."
    if "html" in content_type or text[:1] == "<":
        return f"The provider answered with status {reply.status} and an HTML page instead of an API error."
    return text[:LONGEST_MESSAGE]
