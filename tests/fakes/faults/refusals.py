"""Faults that give another reply than the one asked for: errors by status, in a 200, in a stream's first event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.fakes import provider_error
from tests.fakes.faults.fault import Fault
from tests.fakes.provider_error import ProviderError
from tests.fakes.steps import Reply, Send, event, event_reply, json_reply


def _instead(original: Reply, other: Reply) -> Reply:
    """``other``, no sooner than the original would have come."""
    return replace(other, before=original.before)


@dataclass(frozen=True, slots=True)
class Status(Fault):
    """An HTTP status. ``body``: None for the JSON error usual with it, a mapping for JSON, str for HTML, or bytes."""

    code: int
    body: Mapping[str, object] | str | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def apply(self, reply: Reply) -> Reply:
        return _instead(reply, self._reply()).with_headers(*self.headers.items())

    def _reply(self) -> Reply:
        match self.body:
            case None:
                return json_reply(provider_error.of_status(self.code).document, status=self.code)
            case str():
                html = (Send(self.body.encode()),)
                return Reply(status=self.code, headers=(("content-type", "text/html; charset=utf-8"),), body=html)
            case bytes():
                return Reply(status=self.code, headers=(), body=(Send(self.body),) if self.body else ())
            case _:
                return json_reply(dict(self.body), status=self.code)


@dataclass(frozen=True, slots=True)
class RateLimited(Fault):
    """429 as OpenAI's; ``retry_after`` in seconds or as an HTTP date, None for no such header."""

    retry_after: float | str | None = None

    def apply(self, reply: Reply) -> Reply:
        headers = {"x-ratelimit-limit-requests": "3", "x-ratelimit-remaining-requests": "0"}
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        return Status(429, provider_error.RATE_LIMITED.document, headers).apply(reply)


@dataclass(frozen=True, slots=True)
class ContextLengthExceeded(Fault):
    """OpenAI's 400 for a prompt longer than the model's window of ``limit`` tokens."""

    limit: int = 8192
    tokens: int = 9000

    def apply(self, reply: Reply) -> Reply:
        message = (
            f"This model's maximum context length is {self.limit} tokens. However, your messages resulted in "
            f"{self.tokens} tokens. Please reduce the length of the messages."
        )
        error = ProviderError(message, "invalid_request_error", "context_length_exceeded", "messages")
        return Status(400, error.document).apply(reply)


@dataclass(frozen=True, slots=True)
class ContentFilter(Fault):
    """The 400 of a provider whose policy refuses the prompt (Azure OpenAI's words)."""

    def apply(self, reply: Reply) -> Reply:
        message = (
            "The response was filtered due to the prompt triggering the content management policy. "
            "Please modify your prompt and retry."
        )
        error = ProviderError(message, "invalid_request_error", "content_filter", "prompt")
        return Status(400, error.document).apply(reply)


@dataclass(frozen=True, slots=True)
class ErrorInBody(Fault):
    """A 200 whose JSON body is an error."""

    error: ProviderError = provider_error.OVERLOADED

    def apply(self, reply: Reply) -> Reply:
        return Status(200, self.error.document).apply(reply)


@dataclass(frozen=True, slots=True)
class ErrorFirstEvent(Fault):
    """A 200 event stream whose first event is an error, after ``comments`` keep-alive comments; nothing follows."""

    error: ProviderError = provider_error.OVERLOADED
    comments: int = 0

    def apply(self, reply: Reply) -> Reply:
        comments = (Send(b": keep-alive\n\n", counted=False),) * self.comments
        return _instead(reply, event_reply(*comments, event(self.error.document)))
