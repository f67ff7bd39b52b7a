"""The messages of a chat, as far as the demo model understands them.

https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.providers.demo.request_fields import a_string, an_array, an_object, one_of, required, wrong_type
from extproc.providers.demo.tokens import count_tokens

_ROLES: Final = ("system", "assistant", "user", "function", "tool", "developer")
_INSTRUCTING: Final = ("system", "developer")
_ANSWERING: Final = {"tool": "tool_call_id", "function": "name"}
"""The roles of tools' messages, and the field that says which call or function they answer."""
_PARTS: Final = ("text", "image_url", "input_audio", "refusal", "audio", "file")
_CALLS: Final = {"function": "arguments", "custom": "input"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a message: ``kind`` is its ``type``; ``text`` what it says, for a file its name, else empty."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastCall:
    """A tool call that an assistant's message reports; ``input`` is its arguments as they were written."""

    id: str
    tool: str
    input: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. ``answers`` is the id of the call, or the name of the function, that a tool's message is about."""

    role: str
    parts: tuple[Part, ...]
    calls: tuple[PastCall, ...]
    answers: str | None

    @property
    def text(self) -> str:
        """All its text, a line for each part."""
        return "\n".join(part.text for part in self.parts if part.kind == "text")

    def tokens(self) -> int:
        """Texts and reported tool calls; names of files do not count."""
        texts = [part.text for part in self.parts if part.kind != "file"]
        texts += [text for call in self.calls for text in (call.tool, call.input)]
        return sum(map(count_tokens, texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool gave back, and the tool's name."""

    tool: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What was said.

    ``instructions`` are the system's and the developer's; ``question`` is the user's last message, None where there is
    none; ``turns`` counts the user's messages; ``results`` are there when it was tools that spoke last.
    """

    instructions: tuple[str, ...]
    question: Message | None
    turns: int
    results: tuple[ToolResult, ...]
    tokens: int

    @property
    def asked(self) -> str:
        """The text of the user's last message; empty where there is none."""
        return self.question.text if self.question else ""


def read_conversation(messages: list[dict[str, Any]]) -> Conversation:
    """Raises InvalidRequest, naming the place in ``messages``."""
    read = [_read_message(message, f"messages[{index}]") for index, message in enumerate(messages)]
    questions = [message for message in read if message.role == "user"]
    return Conversation(
        instructions=tuple(message.text for message in read if message.role in _INSTRUCTING),
        question=questions[-1] if questions else None,
        turns=len(questions),
        results=_results(read),
        tokens=sum(message.tokens() for message in read),
    )


def _results(messages: list[Message]) -> tuple[ToolResult, ...]:
    first = len(messages)
    while first and messages[first - 1].role in _ANSWERING:
        first -= 1
    names = {call.id: call.tool for call in messages[first - 1].calls} if first else {}
    return tuple(
        ToolResult(tool=names.get(message.answers, message.answers), text=message.text)
        for message in messages[first:]
        if message.answers is not None
    )


def _read_message(message: Mapping[str, Any], path: str) -> Message:
    role = one_of(required(message, "role", path), f"{path}.role", _ROLES)
    content = message.get("content") if role == "assistant" else required(message, "content", path)
    calls = message.get("tool_calls") if role == "assistant" else None
    answers = _ANSWERING.get(role)
    return Message(
        role=role,
        parts=() if content is None and role == "assistant" else _read_content(content, f"{path}.content"),
        calls=() if calls is None else _read_calls(calls, f"{path}.tool_calls"),
        answers=None if answers is None else a_string(required(message, answers, path), f"{path}.{answers}"),
    )


def _read_content(content: object, path: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Part(kind="text", text=content),)
    if not isinstance(content, list):
        raise wrong_type(path, "one of a string or array of objects", content)
    return tuple(_read_part(part, f"{path}[{index}]") for index, part in enumerate(content))


def _read_part(value: object, path: str) -> Part:
    part = an_object(value, path)
    kind = one_of(required(part, "type", path), f"{path}.type", _PARTS)
    given = required(part, kind, path)
    if kind in ("text", "refusal"):
        return Part(kind=kind, text=a_string(given, f"{path}.{kind}"))
    fields = an_object(given, f"{path}.{kind}")
    if kind == "image_url":
        a_string(required(fields, "url", f"{path}.{kind}"), f"{path}.{kind}.url")
    name = fields.get("filename") or fields.get("file_id") or "" if kind == "file" else ""
    return Part(kind=kind, text=a_string(name, f"{path}.{kind}.filename"))


def _read_calls(value: object, path: str) -> tuple[PastCall, ...]:
    return tuple(_read_call(call, f"{path}[{index}]") for index, call in enumerate(an_array(value, path, "objects")))


def _read_call(value: object, path: str) -> PastCall:
    call = an_object(value, path)
    kind = one_of(required(call, "type", path), f"{path}.type", tuple(_CALLS))
    inside = f"{path}.{kind}"
    tool = an_object(required(call, kind, path), inside)
    given = _CALLS[kind]
    return PastCall(
        id=a_string(required(call, "id", path), f"{path}.id"),
        tool=a_string(required(tool, "name", inside), f"{inside}.name"),
        input=a_string(required(tool, given, inside), f"{inside}.{given}"),
    )
