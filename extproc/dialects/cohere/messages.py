"""The client's messages → Cohere's: https://docs.cohere.com/reference/chat#request.body.messages

Instructions come first; those in the middle are told by the user, marked as what they are. What a model says beside its
tool calls is its ``tool_plan``. Results stand right behind their calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.errors import InvalidRequest, UnsupportedFeature
from extproc.openai.tool_call_id import bare
from extproc.openai.tool_loop import Unanswered, calls_of, read_call, refuse_role

Json = dict[str, Any]

NOTHING: Final = "(no message)"
"""Stands where the provider wants text and the client wrote none."""

_SYSTEM: Final = frozenset({"system", "developer"})


def encode_messages(messages: list[Mapping[str, Any]]) -> list[Json]:
    """Raises InvalidRequest and UnsupportedFeature."""
    writer = _Writer()
    for index, message in enumerate(messages):
        writer.add(message, f"messages[{index}]")
    return writer.written()


class _Writer:
    def __init__(self) -> None:
        self._system: list[str] = []
        self._turns: list[Json] = []
        self._open: Unanswered[int] = Unanswered()
        """The place among the turns where the result will stand."""

    def add(self, message: Mapping[str, Any], where: str) -> None:
        role = message.get("role")
        if role == "assistant":
            self._add_assistant(message, where)
        elif role == "user":
            self._turns.append({"role": "user", "content": _user_content(message.get("content"), where)})
        elif role == "tool":
            self._add_result(message, where)
        elif isinstance(role, str) and role in _SYSTEM:
            self._add_system(message, where)
        else:
            refuse_role(where)

    def written(self) -> list[Json]:
        self._open.check()
        turns = self._turns
        if not turns or turns[-1]["role"] == "assistant":
            turns.append({"role": "user", "content": NOTHING})
        system = [{"role": "system", "content": "\n\n".join(self._system)}] if self._system else []
        return [*system, *turns]

    def _add_system(self, message: Mapping[str, Any], where: str) -> None:
        text = _text(message.get("content"), where)
        if not text.strip():
            return
        if self._turns:
            self._turns.append({"role": "user", "content": f"<system>\n{text}\n</system>"})
        else:
            self._system.append(text)

    def _add_assistant(self, message: Mapping[str, Any], where: str) -> None:
        calls = calls_of(message, where)
        text = _text(message.get("content"), where) or _text(message.get("refusal"), where)
        if not calls:
            if text.strip():
                self._turns.append({"role": "assistant", "content": text})
            return
        written = [_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls)]
        plan = {"tool_plan": text} if text.strip() else {}
        self._turns.append({"role": "assistant", **plan, "tool_calls": written})
        for call in written:
            self._open.add(call["id"], len(self._turns))
            self._turns.append({"role": "tool", "tool_call_id": call["id"]})

    def _add_result(self, message: Mapping[str, Any], where: str) -> None:
        self._turns[self._open.answer(message, where)]["content"] = _text(message.get("content"), where) or NOTHING


def _call(call: Any, place: str) -> Json:
    called = read_call(call, place)
    arguments = called.arguments or "{}"
    if not isinstance(arguments, str):
        where = f"{place}.function.arguments"
        raise InvalidRequest(f"Invalid type for '{where}': expected a string.", param=where)
    named = {"name": called.name, "arguments": arguments}
    return {"id": bare(called.identifier), "type": "function", "function": named}


def _text(content: Any, where: str) -> str:
    """Of a message that can hold nothing else."""
    if content is None or isinstance(content, str):
        return content or ""
    blocks = _blocks(content, where)
    if any(block["type"] != "text" for block in blocks):
        raise UnsupportedFeature("This provider takes images from users only.", param=f"{where}.content")
    return "".join(block["text"] for block in blocks)


def _user_content(content: Any, where: str) -> Any:
    if content is None or isinstance(content, str):
        return content if content and content.strip() else NOTHING
    blocks = [block for block in _blocks(content, where) if block["type"] != "text" or block["text"].strip()]
    if not blocks:
        return NOTHING
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks


def _blocks(content: Any, where: str) -> list[Json]:
    if not isinstance(content, list):
        raise InvalidRequest(f"Invalid type for '{where}.content': expected a string or an array.", param=where)
    return [_block(part, f"{where}.content[{index}]") for index, part in enumerate(content)]


def _block(part: Any, place: str) -> Json:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in {"text", "refusal"}:
        text = part.get(kind)
        if not isinstance(text, str):
            raise InvalidRequest(f"Invalid type for '{place}.{kind}': expected a string.", param=f"{place}.{kind}")
        return {"type": "text", "text": text}
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        if not isinstance(url, str) or not url.startswith(("https://", "http://", "data:image/")):
            raise InvalidRequest(f"Invalid value for '{place}.image_url.url': expected a URL of an image.", param=place)
        detail = image.get("detail") if isinstance(image, dict) else None
        known = {"detail": detail} if isinstance(detail, str) else {}
        return {"type": "image_url", "image_url": {"url": url, **known}}
    if kind is None:
        raise InvalidRequest(f"Invalid type for '{place}': expected an object with a 'type'.", param=place)
    raise UnsupportedFeature(f"Content parts of the type '{kind}' are not supported by this provider.", param=place)
