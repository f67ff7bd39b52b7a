"""A message → a chat completion, in the pieces that whole and streamed replies share.

https://platform.claude.com/docs/en/api/messages/create and https://platform.openai.com/docs/api-reference/chat/object
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from extproc.dialects.anthropic.errors import in_band_error
from extproc.dialects.base import ClientReply, GarbledReply, UpstreamReply
from extproc.dialects.blocks.answer import assistant_message
from extproc.dialects.blocks.writing import parse_message
from extproc.openai.call import Call
from extproc.openai.usage import Usage, usage_fields

Json = dict[str, Any]

# https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons
_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    # The turn is unfinished, which "length" says and "stop" would deny.
    "pause_turn": "length",
}
_COUNTS: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
_LASTING: Final = "ephemeral_1h_input_tokens"
_TIERS: Final = {"standard": "default", "priority": "priority", "batch": "batch"}
"""By OpenAI's names. https://platform.claude.com/docs/en/api/service-tiers"""
_NO_EXPLANATION: Final = "The model's provider declined to answer this request."


def decode_message(reply: UpstreamReply, call: Call) -> ClientReply:
    """A successful whole reply. Raises UpstreamError when it carries an error, GarbledReply when it is no message."""
    message = _parse(reply.body)
    error = in_band_error(message)
    if error is not None:
        raise error
    if not isinstance(message.get("content"), list):
        raise GarbledReply("The provider's reply has no array 'content'.")
    try:
        return _completion(message, call)
    except (AttributeError, TypeError) as error_in_shape:
        raise GarbledReply("The provider's reply is of an unexpected shape.") from error_in_shape


def _completion(message: Json, call: Call) -> ClientReply:
    model = message.get("model")
    served = model if isinstance(model, str) else None
    counts: dict[str, int] = {}
    add_counts(counts, message.get("usage"))
    usage = read_counts(counts)
    body: Json = {
        "id": message.get("id"),
        "object": "chat.completion",
        "created": call.created,
        "model": call.model,
        "choices": [
            {
                "index": 0,
                "message": assistant_message(message["content"], served or call.model, refusal(message), annotation),
                "logprobs": None,
                "finish_reason": finish_reason(message.get("stop_reason")),
            }
        ],
    }
    if usage is not None:
        body["usage"] = usage_fields(usage)
    tier = service_tier(message.get("usage"))
    return ClientReply(body=orjson.dumps(body), usage=usage, model=served, service_tier=tier)


def finish_reason(stop_reason: Any) -> str:
    """OpenAI's word for why it ended; a reason not known yet is an end like any other."""
    return _FINISH.get(stop_reason, "stop")


def refusal(message: Mapping[str, Any]) -> str | None:
    """The sentence for ``message.refusal``; None when the model did not refuse. Takes a message or its delta."""
    if message.get("stop_reason") != "refusal":
        return None
    details = message.get("stop_details")
    explanation = details.get("explanation") if isinstance(details, dict) else None
    return explanation if isinstance(explanation, str) and explanation else _NO_EXPLANATION


def annotation(citation: Any, start: int, end: int) -> Json | None:
    """A citation as an annotation of the text from ``start`` to ``end``, in characters.

    None for one of a document: OpenAI's chat completions have a place for web pages only.
    """
    if not isinstance(citation, dict) or citation.get("type") != "web_search_result_location":
        return None
    page = {"url": citation.get("url"), "title": citation.get("title") or ""}
    return {"type": "url_citation", "url_citation": {"start_index": start, "end_index": end, **page}}


def add_counts(counts: dict[str, int], usage: Any) -> None:
    """Take a ``usage`` object in. Its numbers are totals so far, in a stream too; an absent one stays as it was.

    https://platform.claude.com/docs/en/build-with-claude/streaming#event-types
    """
    if not isinstance(usage, dict):
        return
    details = usage.get("output_tokens_details")
    thinking = details.get("thinking_tokens") if isinstance(details, dict) else None
    written = usage.get("cache_creation")
    lasting = written.get(_LASTING) if isinstance(written, dict) else None
    for name, value in (
        *((name, usage.get(name)) for name in _COUNTS),
        ("thinking_tokens", thinking),
        (_LASTING, lasting),
    ):
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            counts[name] = max(value, counts.get(name, 0))


def service_tier(usage: Any) -> str | None:
    """The tier that served, as ``usage`` names it; None where it does not."""
    tier = usage.get("service_tier") if isinstance(usage, dict) else None
    return _TIERS.get(tier) if isinstance(tier, str) else None


def read_counts(counts: Mapping[str, int]) -> Usage | None:
    """Anthropic's ``input_tokens`` are those neither read from nor written to the cache; ours are all of them."""
    if "input_tokens" not in counts or "output_tokens" not in counts:
        return None
    read, written = counts.get("cache_read_input_tokens"), counts.get("cache_creation_input_tokens")
    return Usage(
        input=counts["input_tokens"] + (read or 0) + (written or 0),
        output=counts["output_tokens"],
        cached_input=read,
        cache_write=written,
        cache_write_1h=counts.get(_LASTING),
        reasoning=counts.get("thinking_tokens"),
    )


def _parse(body: bytes) -> Json:
    message = parse_message(body, b'"tool_use"')
    if not isinstance(message, dict):
        what = "an empty body" if not body.strip() else "a body that is not a JSON object"
        raise GarbledReply(f"The provider answered with {what}.")
    return message
