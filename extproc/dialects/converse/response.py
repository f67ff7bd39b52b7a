"""A Converse reply → a chat completion, in the pieces that whole and streamed replies share.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_ResponseSyntax
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from extproc.dialects.base import ClientReply, GarbledReply, UpstreamReply
from extproc.dialects.blocks.answer import assistant_message
from extproc.dialects.blocks.writing import parse_message
from extproc.openai.call import Call
from extproc.openai.usage import Usage, usage_fields

Json = dict[str, Any]

_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "content_filter",
}
_MALFORMED: Final = frozenset({"malformed_model_output", "malformed_tool_use"})
_TIERS: Final = frozenset({"default", "flex", "priority"})
_COUNTS: Final = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")


def decode_converse(reply: UpstreamReply, call: Call) -> ClientReply:
    """A successful whole reply. Raises GarbledReply when it is no answer."""
    fields = parse_message(reply.body, b'"toolUse"')
    if not isinstance(fields, dict):
        what = "an empty body" if not reply.body.strip() else "a body that is not a JSON object"
        raise GarbledReply(f"The provider answered with {what}.")
    try:
        return _completion(fields, call)
    except (AttributeError, KeyError, TypeError) as error_in_shape:
        raise GarbledReply("The provider's reply is of an unexpected shape.") from error_in_shape


def _completion(fields: Json, call: Call) -> ClientReply:
    content = fields["output"]["message"]["content"]
    usage = read_usage(fields.get("usage"))
    blocks = [block for given in content for block in plain_blocks(given)]
    body: Json = {
        "id": completion_id(call),
        "object": "chat.completion",
        "created": call.created,
        "model": call.model,
        "choices": [
            {
                "index": 0,
                "message": assistant_message(blocks, call.upstream_model, None, annotation),
                "logprobs": None,
                "finish_reason": finish_reason(fields.get("stopReason")),
            }
        ],
    }
    if usage is not None:
        body["usage"] = usage_fields(usage)
    return ClientReply(body=orjson.dumps(body), usage=usage, service_tier=service_tier(fields))


def service_tier(fields: Mapping[str, Any]) -> str | None:
    """The tier that served, whose names are OpenAI's; ``reserved`` is AWS's own."""
    tier = fields.get("serviceTier")
    kind = tier.get("type") if isinstance(tier, dict) else None
    return kind if isinstance(kind, str) and kind in _TIERS else None


def completion_id(call: Call) -> str:
    """Converse's replies have no id but that of the request."""
    return f"chatcmpl-{call.reply_id or call.created}"


def finish_reason(stop_reason: Any) -> str:
    """OpenAI's word for why it ended; a reason not known yet is an end like any other.

    Raises GarbledReply where the model's answer is none.
    """
    if stop_reason in _MALFORMED:
        raise GarbledReply("The model wrote an answer that its provider could not read.")
    return _FINISH.get(stop_reason, "stop") if isinstance(stop_reason, str) else "stop"


def plain_blocks(given: Mapping[str, Any]) -> Iterator[Json]:
    """One block of Converse's as blocks of the shared form; none for a kind that OpenAI has no place for."""
    for kind, value in given.items():
        match kind:
            case "text":
                yield {"type": "text", "text": value}
            case "toolUse":
                yield tool_use(value)
            case "reasoningContent":
                yield thinking(value)
            case "citationsContent":
                text = "".join(str(part.get("text", "")) for part in value.get("content") or ())
                yield {"type": "text", "text": text, "citations": value.get("citations") or []}


def tool_use(value: Mapping[str, Any]) -> Json:
    """A call; one that AWS makes itself is not for the client."""
    kind = value.get("type") or "tool_use"
    return {"type": kind, "id": value["toolUseId"], "name": value["name"], "input": value.get("input")}


def thinking(value: Mapping[str, Any]) -> Json:
    """A thought, or one that nobody may read."""
    if "redactedContent" in value:
        return {"type": "redacted_thinking", "data": value["redactedContent"]}
    thought = value.get("reasoningText") or {}
    return {"type": "thinking", "thinking": thought.get("text", ""), "signature": thought.get("signature", "")}


def annotation(citation: Any, start: int, end: int) -> Json | None:
    """A citation as an annotation of the text from ``start`` to ``end``, in characters; None for one of a document."""
    location = citation.get("location") if isinstance(citation, dict) else None
    web = location.get("web") if isinstance(location, dict) else None
    if not isinstance(web, dict) or not web.get("url"):
        return None
    page = {"url": web["url"], "title": citation.get("title") or web.get("domain") or ""}
    return {"type": "url_citation", "url_citation": {"start_index": start, "end_index": end, **page}}


def read_usage(usage: Any) -> Usage | None:
    """Converse's ``inputTokens`` are those neither read from nor written to the cache; ours are all of them.

    https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
    """
    given = usage if isinstance(usage, dict) else {}
    counts = {
        name: value
        for name in _COUNTS
        if isinstance(value := given.get(name), int) and not isinstance(value, bool) and value >= 0
    }
    if "inputTokens" not in counts or "outputTokens" not in counts:
        return None
    read, written = counts.get("cacheReadInputTokens"), counts.get("cacheWriteInputTokens")
    return Usage(
        input=counts["inputTokens"] + (read or 0) + (written or 0),
        output=counts["outputTokens"],
        cached_input=read,
        cache_write=written,
        cache_write_1h=_written_for_an_hour(given.get("cacheDetails")),
    )


def _written_for_an_hour(details: Any) -> int | None:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CacheDetail.html"""
    lasting = [
        count
        for detail in (details if isinstance(details, list) else ())
        if isinstance(detail, dict) and detail.get("ttl") == "1h"
        if isinstance(count := detail.get("inputTokens"), int) and not isinstance(count, bool) and count >= 0
    ]
    return sum(lasting) if lasting else None
