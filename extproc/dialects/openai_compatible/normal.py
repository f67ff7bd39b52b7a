"""What compatible servers write in ways of their own, in OpenAI's: reasoning, thinking parts, tool calls, usage.

``reasoning`` (vLLM, Ollama, Groq, OpenRouter) is ``reasoning_content`` (DeepSeek and most clients); a ``content`` that
is a list of parts with thoughts among them (https://docs.mistral.ai/capabilities/reasoning) is text and reasoning.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from extproc.dialects.base import GarbledReply
from extproc.errors import UpstreamError
from extproc.openai.usage import Usage, read_usage, usage_fields

Json = dict[str, Any]

_FINISH: Final = {"model_length": "length", "eos": "stop"}


class Calls:
    """The tool calls of a stream's choices so far, for servers that do not number them."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[Any, int] = {}

    def number(self, choice: Any, calls: list[Json]) -> bool:
        """Give each its ``index``: a call with an id is a new one. Returns whether any had none."""
        changed = False
        for call in calls:
            given = call.get("index")
            if isinstance(given, int):
                self._counts[choice] = max(self._counts.get(choice, 0), given + 1)
                continue
            count = self._counts.get(choice, 0)
            if call.get("id") or not count:
                self._counts[choice] = count = count + 1
            call["index"] = count - 1
            changed = True
        return changed


def normalise_message(message: Json, *, whole: bool) -> bool:
    """Change a message, or a delta, in place. Returns whether anything changed. Raises GarbledReply."""
    changed = False
    if isinstance(message.get("content"), list):
        _flatten(message, whole=whole)
        changed = True
    if "reasoning" in message:
        reasoning = message.pop("reasoning")
        if reasoning and not message.get("reasoning_content"):
            message["reasoning_content"] = reasoning
        changed = True
    calls = message.get("tool_calls")
    return (calls is not None and _name_types(calls)) or changed


def normalise_finish(choice: Json) -> bool:
    """Change a choice's finish reason in place. Raises UpstreamError where it says that the answer broke off."""
    reason = choice.get("finish_reason")
    if reason == "error":
        raise UpstreamError("The provider broke off its answer because of an error of its own.", status=502)
    if isinstance(reason, str) and reason in _FINISH:
        choice["finish_reason"] = _FINISH[reason]
        return True
    return False


def normalise_choices(choices: Any) -> bool:
    """Change a whole reply's choices in place. Raises GarbledReply and UpstreamError."""
    changed = False
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        changed |= normalise_finish(choice)
        message = choice.get("message")
        if isinstance(message, dict):
            changed |= normalise_message(message, whole=True)
    return changed


def normal_usage(given: Any) -> tuple[Usage | None, bytes | None]:
    """The usage, and JSON to show the client in place of what the server wrote, where that counts differently."""
    usage = read_usage(given)
    if usage is None:
        return None, None
    details = given.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    if given.get("completion_tokens", 0) == usage.output and cached == usage.cached_input:
        return usage, None
    shown = {**given, **usage_fields(usage)}
    for name in ("prompt_tokens_details", "completion_tokens_details"):
        if isinstance(given.get(name), dict):
            shown[name] = {**given[name], **shown.get(name, {})}
    return usage, orjson.dumps(shown)


def _name_types(calls: Any) -> bool:
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise GarbledReply("The provider's reply has tool calls that are no objects.")
    untyped = [call for call in calls if call.get("id") and "type" not in call]
    for call in untyped:
        call["type"] = "function"
    return bool(untyped)


def _flatten(message: Json, *, whole: bool) -> None:
    text, thoughts = [], []
    for part in message.pop("content"):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            text.append(str(part.get("text", "")))
        elif kind == "thinking":
            thoughts.append(_thought(part.get("thinking")))
    if whole or text:
        message["content"] = "".join(text)
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)


def _thought(thinking: Any) -> str:
    if isinstance(thinking, str):
        return thinking
    parts = thinking if isinstance(thinking, list) else ()
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
