"""A message → a chat completion, in the pieces that whole and streamed replies share. https://docs.cohere.com/reference/chat"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from extproc.dialects.base import ClientReply, GarbledReply, UpstreamReply
from extproc.dialects.cohere.errors import error
from extproc.openai.call import Call
from extproc.openai.usage import Usage, usage_fields

Json = dict[str, Any]

_FINISH: Final = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_LIMIT": "length",
    "ERROR_TOXIC": "content_filter",
}
_FAILED: Final = {"ERROR": 502, "TIMEOUT": 504}


def decode_message(reply: UpstreamReply, call: Call) -> ClientReply:
    """A successful whole reply. Raises UpstreamError when it says that it failed, GarbledReply when it is none."""
    try:
        fields = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        what = "an empty body" if not reply.body.strip() else "a body that is not a JSON object"
        raise GarbledReply(f"The provider answered with {what}.")
    if not isinstance(fields.get("message"), dict):
        raise GarbledReply("The provider's reply has no 'message'.")
    try:
        return _completion(fields, call)
    except (AttributeError, KeyError, TypeError) as error_in_shape:
        raise GarbledReply("The provider's reply is of an unexpected shape.") from error_in_shape


def _completion(fields: Json, call: Call) -> ClientReply:
    usage = read_usage(fields.get("usage"))
    body: Json = {
        "id": fields.get("id"),
        "object": "chat.completion",
        "created": call.created,
        "model": call.model,
        "choices": [
            {
                "index": 0,
                "message": _assistant(fields["message"]),
                "logprobs": None,
                "finish_reason": finish_reason(fields.get("finish_reason"), fields.get("error")),
            }
        ],
    }
    if usage is not None:
        body["usage"] = usage_fields(usage)
    return ClientReply(body=orjson.dumps(body), usage=usage)


def finish_reason(reason: Any, told: Any = None) -> str:
    """OpenAI's word for why it ended; one that is not known yet is an end like any other. Raises UpstreamError."""
    if isinstance(reason, str) and reason in _FAILED:
        raise error(_FAILED[reason], told if isinstance(told, str) else "The provider broke off its answer.")
    return _FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"


def read_usage(usage: Any) -> Usage | None:
    """``billed_units``, which are what the answer costs; ``tokens`` also counts the provider's own words in the prompt.

    https://docs.cohere.com/docs/rate-limits#billed-units - where nothing is billed, ``tokens`` is all there is.
    """
    if not isinstance(usage, dict):
        return None
    counted = usage.get("billed_units")
    if not isinstance(counted, dict) or "input_tokens" not in counted:
        counted = usage.get("tokens")
    if not isinstance(counted, dict):
        return None
    given, made = _count(counted.get("input_tokens")), _count(counted.get("output_tokens"))
    if given is None or made is None:
        return None
    cached = _count(usage.get("cached_tokens"))
    return Usage(input=given, output=made, cached_input=None if cached is None else min(cached, given))


def cited_pages(citation: Any) -> list[Json]:
    """A citation of pages, as annotations of the text.

    OpenAI's chat completions have a place for pages only: documents without an address, and plans, have none.
    """
    if not isinstance(citation, dict) or citation.get("type", "TEXT_CONTENT") != "TEXT_CONTENT":
        return []
    place = {"start_index": citation.get("start"), "end_index": citation.get("end")}
    found = []
    for source in citation.get("sources") or ():
        document = source.get("document") or source.get("tool_output") if isinstance(source, dict) else None
        url = document.get("url") if isinstance(document, dict) else None
        if isinstance(document, dict) and isinstance(url, str) and url.startswith(("https://", "http://")):
            page = {"url": url, "title": str(document.get("title") or "")}
            found.append({"type": "url_citation", "url_citation": {**place, **page}})
    return found


def tool_call(call: Mapping[str, Any]) -> Json:
    """One of ``tool_calls``."""
    function = call["function"]
    named = {"name": str(function.get("name", "")), "arguments": str(function.get("arguments") or "")}
    return {"id": str(call["id"]), "type": "function", "function": named}


def _assistant(message: Json) -> Json:
    text = str(message.get("tool_plan") or "")
    thoughts = ""
    for block in message.get("content") or ():
        if block.get("type") == "thinking":
            thoughts += str(block.get("thinking", ""))
        elif block.get("type") == "text":
            text += str(block.get("text", ""))
    calls = [tool_call(call) for call in message.get("tool_calls") or ()]
    for call in calls:
        call["function"]["arguments"] = call["function"]["arguments"] or "{}"
    cited = [found for citation in message.get("citations") or () for found in cited_pages(citation)]
    written: Json = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    if thoughts:
        written["reasoning_content"] = thoughts
    if calls:
        written["tool_calls"] = calls
    if cited:
        written["annotations"] = cited
    return written


def _count(number: Any) -> int | None:
    """Cohere writes its counts as numbers with a point, ``12.0``."""
    if isinstance(number, bool) or not isinstance(number, int | float) or number < 0:
        return None
    return int(number)
