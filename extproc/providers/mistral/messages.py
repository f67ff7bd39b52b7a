"""The client's messages as Mistral takes them: known keys only, ids of nine characters, turns in an order it allows.

https://github.com/mistralai/mistral-common/blob/main/src/mistral_common/protocol/instruct/validator.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from extproc.dialects.openai_compatible import each

Json = dict[str, Any]

_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset({"role", "content"}),
    "user": frozenset({"role", "content"}),
    "assistant": frozenset({"role", "content", "tool_calls", "prefix"}),
    "tool": frozenset({"role", "content", "tool_call_id"}),
}
_KEYS_OF_A_CALL: Final = frozenset({"id", "type", "function", "index"})
_ID: Final = re.compile(r"[a-zA-Z0-9]{9}")
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NOTHING: Final[Json] = {"role": "assistant", "content": " "}
"""Stands between a tool's result and what the user says next, as the model's own turn would."""


def exact_messages(fields: Json) -> Json:
    """The fields, with other messages where the client's would be refused."""
    given = fields["messages"]
    written = [_exact(message) for message in given]
    ordered = list(_ordered(list(_with_results_adjacent(written))))
    same = len(ordered) == len(given) and all(one is other for one, other in zip(ordered, given, strict=True))
    return fields if same else {**fields, "messages": ordered}


def short_id(identifier: object) -> object:
    """Another provider's id of a tool call in Mistral's form; always the same, so that call and result still meet."""
    if not isinstance(identifier, str) or _ID.fullmatch(identifier):
        return identifier
    number = int.from_bytes(sha256(identifier.encode("utf-8", "surrogatepass")).digest()[:8])
    digits = []
    for _ in range(9):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def _exact(message: Json) -> Json:
    role = message.get("role")
    keys = _KEYS.get(role) if isinstance(role, str) else None
    if keys is None:
        return message
    written = {name: value for name, value in message.items() if name in keys and value is not None}
    said = message.get("content")
    if role == "assistant":
        said = said or message.get("refusal")
        calls = each(message.get("tool_calls"), _call)
        written.pop("tool_calls", None)
        written |= {"tool_calls": calls} if calls else {}
    elif role == "tool":
        written["tool_call_id"] = short_id(message.get("tool_call_id"))
    if said is not None or "content" in message:
        written["content"] = each(said, _part)
    return message if _equal(written, message) else written


def _equal(written: Json, message: Json) -> bool:
    return written.keys() == message.keys() and all(written[name] is message[name] for name in written)


def _call(call: Json) -> Json:
    written = {name: value for name, value in call.items() if name in _KEYS_OF_A_CALL}
    written["id"] = short_id(call.get("id"))
    return call if _equal(written, call) else written


def _part(part: Json) -> Json:
    """https://docs.mistral.ai/capabilities/document_ai and https://docs.mistral.ai/capabilities/audio"""
    match part:
        case {"type": "refusal", "refusal": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "input_audio", "input_audio": {"data": str(data)}}:
            return {"type": "input_audio", "input_audio": data}
        case {"type": "file", "file": {"file_data": str(data), **file}}:
            name = file.get("filename")
            title = {"document_name": name} if isinstance(name, str) and name else {}
            return {"type": "document_url", "document_url": data, **title}
    return part


def _with_results_adjacent(messages: list[Json]) -> Iterator[Json]:
    """Results right behind their calls and in their order, wherever the client put them before the next answer."""
    moved: set[int] = set()
    for index, message in enumerate(messages):
        if index in moved:
            continue
        yield message
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            place = _result_of(call, messages, index + 1)
            if place is not None and place not in moved:
                moved.add(place)
                yield messages[place]


def _result_of(call: object, messages: list[Json], start: int) -> int | None:
    identifier = call.get("id") if isinstance(call, dict) else None
    for index in range(start, len(messages)):
        message = messages[index]
        if message.get("role") == "assistant":
            return None
        if message.get("role") == "tool" and message.get("tool_call_id") == identifier:
            return index
    return None


def _ordered(messages: list[Json]) -> Iterator[Json]:
    """Instructions and users may not follow a tool's result, nor instructions an answer; and the last is no system."""
    before = None
    for index, message in enumerate(messages):
        role = message.get("role")
        if role == "assistant" and not message.get("content") and not message.get("tool_calls"):
            continue
        last = index == len(messages) - 1
        if role == "system" and (before in {"assistant", "tool"} or (last and before is not None)):
            role, message = "user", _told_by_user(message)  # noqa: PLW2901 - the same message, where the model can read it
        if role == "user" and before == "tool":
            yield _NOTHING
        if role == "assistant" and last and not message.get("tool_calls"):
            # The answer goes on from here: https://docs.mistral.ai/capabilities/completion/usage#prefix
            message = message if message.get("prefix") else {**message, "prefix": True}  # noqa: PLW2901 - as above
        yield message
        before = role


def _told_by_user(message: Json) -> Json:
    content = message.get("content")
    wrapped = each(content, lambda part: {**part, "text": _wrapped(part["text"])} if "text" in part else part)
    return {"role": "user", "content": _wrapped(content) if isinstance(content, str) else wrapped}


def _wrapped(text: object) -> str:
    return f"<system>\n{text}\n</system>"
