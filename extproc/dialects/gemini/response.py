"""A reply of generateContent → a chat completion: https://ai.google.dev/api/generate-content#generatecontentresponse"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from extproc.dialects.base import ClientReply, GarbledReply, UpstreamReply
from extproc.dialects.gemini.candidate import Said, logprobs
from extproc.dialects.gemini.errors import in_band_error
from extproc.dialects.gemini.usage import read_usage_metadata
from extproc.openai.call import Call
from extproc.openai.usage import usage_fields

Json = dict[str, Any]

_BLOCKED: Final = "The model's provider refused this prompt ({})."


def decode_response(reply: UpstreamReply, call: Call) -> ClientReply:
    """A successful whole reply. Raises UpstreamError when it carries an error, GarbledReply when it is no answer."""
    fields = parse(reply.body, "an empty body" if not reply.body.strip() else "a body that is not a JSON object")
    error = in_band_error(fields)
    if error is not None:
        raise error
    try:
        return _completion(fields, call)
    except (AttributeError, KeyError, TypeError, ValueError) as error_in_shape:
        raise GarbledReply("The provider's reply is of an unexpected shape.") from error_in_shape


def parse(text: bytes, otherwise: str) -> Json:
    """A JSON object. Raises GarbledReply, with the words for what it is otherwise."""
    try:
        # orjson makes a float of an integer with more than 64 bits, and only a call's arguments may hold one.
        fields = json.loads(text) if b'"functionCall"' in text else orjson.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise GarbledReply(f"The provider answered with {otherwise}.")
    return fields


def reply_id(fields: Mapping[str, Any], call: Call) -> str:
    """The reply's own id, or else that of its request."""
    identifier = fields.get("responseId")
    return identifier if isinstance(identifier, str) and identifier else call.reply_id


def blocked(fields: Mapping[str, Any]) -> str | None:
    """The sentence for a prompt that was not answered; None when it was.

    https://ai.google.dev/api/generate-content#PromptFeedback
    """
    feedback = fields.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
    if not isinstance(feedback, dict) or reason is None or fields.get("candidates"):
        return None
    message = feedback.get("blockReasonMessage")
    return message if isinstance(message, str) and message else _BLOCKED.format(reason)


def _completion(fields: Json, call: Call) -> ClientReply:
    model = fields.get("modelVersion")
    usage = read_usage_metadata(fields.get("usageMetadata"))
    refusal = blocked(fields)
    if refusal is not None:
        choices = [_choice(0, {"role": "assistant", "content": None, "refusal": refusal}, "content_filter", None)]
    else:
        candidates = fields.get("candidates")
        if not isinstance(candidates, list) or not candidates:
            raise GarbledReply("The provider's reply has no candidates.")
        identifier = reply_id(fields, call)
        choices = [_answer(candidate, place, identifier) for place, candidate in enumerate(candidates)]
    body: Json = {
        "id": reply_id(fields, call),
        "object": "chat.completion",
        "created": call.created,
        "model": call.model,
        "choices": choices,
    }
    if usage is not None:
        body["usage"] = usage_fields(usage)
    return ClientReply(body=orjson.dumps(body), usage=usage, model=model if isinstance(model, str) else None)


def _answer(candidate: Json, place: int, identifier: str) -> Json:
    said = Said(identifier, place)
    message: Json = {"role": "assistant", "content": "", "refusal": None}
    for delta in said.add(candidate):
        for name, value in delta.items():
            before = message.get(name)
            message[name] = value if before is None else before + value
    if not said.finished:
        raise GarbledReply("The provider's reply ends without a reason.")
    for call in message.get("tool_calls", ()):
        del call["index"]
    message["refusal"] = said.refusal()
    if not message["content"] and (message["refusal"] or "tool_calls" in message):
        message["content"] = None
    return _choice(place, message, said.finish_reason(), logprobs(candidate))


def _choice(index: int, message: Json, finish: str, probabilities: Json | None) -> Json:
    return {"index": index, "message": message, "logprobs": probabilities, "finish_reason": finish}
