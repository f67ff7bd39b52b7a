"""What every reply of the demo model has around its answer: identity, time, model and usage."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import orjson

from extproc.framing.sse import encode_event
from extproc.openai.usage import Usage

MODEL: Final = "kortex-demo"
CREATED: Final = 1_767_225_600
"""Unix seconds, 2026-01-01T00:00:00Z: a fixed moment, so that the same call gets the same bytes."""

_FINGERPRINT: Final = "fp_kortex_demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """``id`` is the reply's; ``model`` the name the client asked for; ``usage`` what the call used."""

    id: str
    model: str
    usage: Usage

    def fields(self, kind: str) -> dict[str, Any]:
        """The members before ``choices``; ``kind`` is OpenAI's ``object``."""
        return {
            "id": self.id,
            "object": kind,
            "created": CREATED,
            "model": self.model,
            "system_fingerprint": _FINGERPRINT,
        }


def body_id(prefix: str, body: bytes) -> str:
    """The id of the reply to ``body``, such as ``chatcmpl-…``: the same body has the same id."""
    return prefix + hashlib.blake2b(body, digest_size=14).hexdigest()


def part_id(prefix: str, reply_id: str, *place: int) -> str:
    """The id of one part of a reply, such as ``call_…``, told from the others by its ``place``."""
    return body_id(prefix, f"{reply_id} {place}".encode())


def full_usage(prompt: int, answer: int) -> Usage:
    """Tokens of the prompt and of the answer, of which none were cached, thought or heard."""
    return Usage(input=prompt, output=answer, cached_input=0, reasoning=0, audio_input=0, audio_output=0)


def usage_fields(usage: Usage) -> dict[str, Any]:
    """https://platform.openai.com/docs/api-reference/chat/object#chat-object-usage"""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input, "audio_tokens": usage.audio_input},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.audio_output},
    }


def event_stream(chunks: list[dict[str, Any]], envelope: Envelope, kind: str, *, include_usage: bool) -> bytes:
    """Every chunk as an event, the usage chunk where it is asked for, and ``[DONE]``. ``chunks`` have only ``choices``.

    With usage asked for, each chunk has a ``usage`` member and it is null in all but the last:
    https://platform.openai.com/docs/api-reference/chat/create#chat-create-stream_options
    """
    fields = envelope.fields(kind)
    if include_usage:
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        chunks.append({"choices": [], "usage": usage_fields(envelope.usage)})
    events = [encode_event(orjson.dumps(fields | chunk)) for chunk in chunks]
    return b"".join((*events, encode_event(b"[DONE]")))
