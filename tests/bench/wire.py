"""The calls and their replies as bytes, in the size and with the headers that the official SDKs and OpenAI send."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

UPSTREAM_MODEL: Final = "bench-upstream"
"""The only model that the provider knows; a call for another one is refused."""
CLIENT_MODEL: Final = "bench-client"
"""The same, by a name that only the gateway knows and has to rewrite, there and back."""

STREAM_CHUNKS: Final = 20
CHUNK_SECONDS: Final = 0.02

_TOKEN: Final = b"%06d %020d"
_DONE: Final = b"data: [DONE]\n\n"

_TURNS: Final = (
    ("system", "You are a careful assistant. Answer in plain words, and say so when you do not know."),
    ("user", "Which of the two bridges was built first, and what were they made of? Two sentences will do."),
)
_ANSWER: Final = (
    "The stone bridge was built first, in 1843; it has five arches of grey granite. The second one followed in 1911 "
    "and is a riveted steel truss, which was strengthened with concrete piers after the flood."
)
_USAGE: Final = {
    "prompt_tokens": 47,
    "completion_tokens": 44,
    "total_tokens": 91,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
_SDK_HEADERS: Final = """\
host: {host}\r
accept: application/json\r
accept-encoding: gzip, deflate\r
connection: keep-alive\r
content-type: application/json\r
user-agent: OpenAI/Python 2.8.0\r
x-stainless-lang: python\r
x-stainless-package-version: 2.8.0\r
x-stainless-os: Linux\r
x-stainless-arch: x64\r
x-stainless-runtime: CPython\r
x-stainless-runtime-version: 3.11.9\r
x-stainless-retry-count: 0\r
x-stainless-read-timeout: 600\r
authorization: Bearer sk-client-0123456789abcdef0123456789abcdef\r
content-length: {length}\r
"""
_REPLY_HEADERS: Final = b"""\
HTTP/1.1 200 OK\r
date: Sat, 01 Aug 2026 12:00:00 GMT\r
content-type: %s\r
openai-organization: bench\r
openai-processing-ms: 412\r
openai-version: 2020-10-01\r
x-request-id: req_0123456789abcdef0123456789abcdef\r
x-ratelimit-limit-requests: 10000\r
x-ratelimit-remaining-requests: 9999\r
strict-transport-security: max-age=31536000; includeSubDomains\r
cf-ray: 0123456789abcdef-FRA\r
%s\r
\r
"""
REFUSAL: Final = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


def request(host: str, model: str, *, stream: bool) -> bytes:
    """A chat completion's request, as a client writes it."""
    fields: dict[str, Any] = {
        "messages": [{"role": role, "content": content} for role, content in _TURNS],
        "model": model,
        "temperature": 0.2,
    }
    if stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    body = json.dumps(fields, separators=(",", ":")).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\n{_SDK_HEADERS.format(host=host, length=len(body))}\r\n"
    return head.encode() + body


def answer_body(model: str) -> bytes:
    """A whole answer's body, by the name that its reader knows the model by."""
    return _json(
        {
            "id": "chatcmpl-0123456789abcdef",
            "object": "chat.completion",
            "created": 1785585600,
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": _ANSWER, "refusal": None, "annotations": []},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": _USAGE,
            "service_tier": "default",
            "system_fingerprint": "fp_0123456789",
        }
    )


def answer() -> bytes:
    """The provider's whole reply."""
    body = answer_body(UPSTREAM_MODEL)
    return _REPLY_HEADERS % (b"application/json", b"content-length: %d" % len(body)) + body


def stream_head() -> bytes:
    """How the provider's streamed reply begins."""
    return _REPLY_HEADERS % (b"text/event-stream; charset=utf-8", b"transfer-encoding: chunked")


def chunked(data: bytes) -> bytes:
    """One chunk of HTTP/1.1's transfer coding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One event of a stream: which it is, and when the provider wrote it (nanoseconds of the machine's clock)."""

    index: int
    written: int


def token_event(model: str, token: Token) -> bytes:
    """The event of a token. Its text is the token's number and time."""
    text = _TOKEN % (token.index, token.written)
    return _event(model, [_choice({"content": text.decode()}, None)], None)


def last_events(model: str) -> bytes:
    """The finish reason, the usage that was asked for, and the end."""
    return _event(model, [_choice({}, "stop")], None) + _event(model, [], _USAGE) + _DONE


def token_pattern(model: str) -> re.Pattern[bytes]:
    """Matches what ``token_event`` writes, with the number and the time as groups."""
    before, _, after = token_event(model, Token(index=0, written=0)).partition(_TOKEN % (0, 0))
    return re.compile(re.escape(before) + rb"(\d{6}) (\d{20})" + re.escape(after))


def _choice(delta: dict[str, str], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _event(model: str, choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
    fields = {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 1785585600,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + _json(fields) + b"\n\n"


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
