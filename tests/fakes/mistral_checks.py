"""What a fake refuses because Mistral does: https://docs.mistral.ai/api and the validator in mistral-common."""

from __future__ import annotations

import itertools
import re
from typing import Any

from tests.fakes.checks import Refused
from tests.fakes.provider_error import ProviderError
from tests.fakes.recorded import Recorded
from tests.fakes.steps import Json

FIELDS = frozenset(
    {
        *("model", "messages", "temperature", "top_p", "max_tokens", "min_tokens", "stream", "stop", "random_seed"),
        *("metadata", "response_format", "tools", "tool_choice", "presence_penalty", "frequency_penalty", "n", "top_k"),
        *("repetition_penalty", "logprobs", "top_logprobs", "prompt_logprobs", "top_prompt_logprobs", "prediction"),
        *("parallel_tool_calls", "reasoning_effort", "prompt_mode", "guardrails", "prompt_cache_key", "service_tier"),
        "safe_prompt",
    }
)
EMBEDDING_FIELDS = frozenset({"model", "input", "metadata", "output_dimension", "output_dtype", "encoding_format"})
_KEYS = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls", "prefix"},
    "tool": {"role", "content", "tool_call_id", "name"},
}
_MAY_FOLLOW = {
    "system": {"user", "assistant", "system"},
    "user": {"assistant", "system", "user"},
    "assistant": {"assistant", "user", "tool"},
    "tool": {"assistant", "tool"},
}
_PARTS = {"text", "image_url", "document_url", "reference", "file", "thinking", "input_audio"}
_ID = re.compile(r"[a-zA-Z0-9]{9}")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class MistralError(ProviderError):
    """An error in Mistral's shape."""

    @property
    def document(self) -> Json:
        return {"object": "error", "message": self.message, "type": self.type, "param": None, "code": self.code}


class _Extra(MistralError):
    """What pydantic says of a field, as Mistral passes it on."""

    @property
    def document(self) -> Json:
        problem = {
            "type": self.type,
            "loc": ["body", *self.message.split(".")],
            "msg": "Extra inputs are not permitted",
        }
        return {"object": "error", "message": {"detail": [problem]}, "type": "invalid_request_error", "code": None}


def check_body(request: Recorded) -> Json:
    """The request's JSON object. Refused with 422 for what is unknown, and with 400 for turns in a wrong order."""
    body = request.json
    check_chat(body)
    return body


def check_embeddings(body: Json) -> None:
    """Refused with 422 for what is unknown."""
    for name in sorted(set(body) - EMBEDDING_FIELDS):
        raise _unknown(name)


def check_chat(body: Json) -> None:
    """The same for a body that did not come by HTTP."""
    for name in sorted(set(body) - FIELDS):
        raise _unknown(name)
    for index, tool in enumerate(body.get("tools") or ()):
        if tool["type"] != "function" or "parameters" not in tool["function"]:
            raise _unknown(f"tools.{index}.function.parameters")
        if not _NAME.fullmatch(tool["function"]["name"]):
            raise _invalid("Function name must be a-z, A-Z, 0-9, or contain underscores and dashes", "3300")
    messages: list[Json] = body["messages"]
    for index, message in enumerate(messages):
        _check_message(message, f"messages.{index}", last=index == len(messages) - 1)
    _check_order([message["role"] for message in messages])
    _check_calls(messages)
    last = messages[-1]
    if last["role"] not in {"user", "tool"} and not last.get("prefix") and len(messages) > 1:
        text = f"Expected last role User or Tool (or Assistant with prefix True) for serving but got {last['role']}"
        raise _invalid(text, "3230")


def _check_message(message: Json, place: str, *, last: bool) -> None:
    known = _KEYS.get(message["role"])
    if known is None:
        raise _unknown(f"{place}.role")
    for name in sorted(set(message) - known):
        raise _unknown(f"{place}.{message['role']}.{name}")
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if part["type"] not in _PARTS or "cache_control" in part:
            raise _unknown(f"{place}.content")
    if message["role"] != "assistant":
        return
    if not content and not message.get("tool_calls"):
        raise _invalid("Assistant message must have either content or tool_calls, but not none.", "3240")
    if message.get("prefix") and not last:
        raise _invalid("Assistant message with prefix True must be last message", "3240")


def _check_order(roles: list[str]) -> None:
    for before, role in itertools.pairwise(roles):
        if role not in _MAY_FOLLOW[before]:
            raise _invalid(f"Unexpected role '{role}' after role '{before}'", "3230")


def _check_calls(messages: list[Json]) -> None:
    expected: set[Any] = set()
    for message in messages:
        if message["role"] == "tool":
            _check_id(message.get("tool_call_id"))
            if message["tool_call_id"] not in expected:
                raise _invalid("Unexpected tool call id in tool results", "3230")
            expected.discard(message["tool_call_id"])
        elif message["role"] == "assistant":
            if expected:
                raise _invalid("Not the same number of function calls and responses", "3230")
            expected = {call["id"] for call in message.get("tool_calls") or ()}
            for identifier in expected:
                _check_id(identifier)
    if expected:
        raise _invalid("Not the same number of function calls and responses", "3230")


def _check_id(identifier: Any) -> None:
    if not isinstance(identifier, str) or not _ID.fullmatch(identifier):
        raise _invalid(f"Tool call id was {identifier} but must be a-z, A-Z, 0-9, with a length of 9.", "3280")


def _unknown(place: str) -> Refused:
    return Refused(422, _Extra(place, "extra_forbidden"))


def _invalid(message: str, code: str) -> Refused:
    return Refused(400, MistralError(message, "invalid_request_message_order", code))
