"""The client's messages → ``systemInstruction`` and ``contents``: turns of user and model, results behind their calls.

https://ai.google.dev/gemini-api/docs/function-calling
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from extproc.dialects.gemini.content import content_parts
from extproc.dialects.gemini.models import Model
from extproc.dialects.gemini.thoughts import PLACEHOLDER, signatures_of, signed_texts
from extproc.errors import UnsupportedFeature
from extproc.openai.tool_call_id import bare
from extproc.openai.tool_loop import Unanswered, arguments_of, calls_of, read_call, refuse_role

Part = dict[str, Any]

NOTHING: Final = "(no message)"
"""Stands where the provider wants a turn and the client wrote none."""

_SYSTEM: Final = frozenset({"system", "developer"})


@dataclass(slots=True, kw_only=True)
class _Turn:
    role: str
    parts: list[Part] = field(default_factory=list)
    results: dict[str, Part] = field(default_factory=dict)
    """By the provider's id, in the order of the calls. A turn with results has nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """``contents`` as they are sent."""

    system: list[Part]
    contents: list[Part]


def encode_messages(messages: list[Mapping[str, Any]], model: Model, *, cloud: bool) -> Conversation:
    """Instructions in the middle become part of the user's turn, marked. Raises InvalidRequest, UnsupportedFeature."""
    writer = _Writer(model, cloud=cloud)
    for index, message in enumerate(messages):
        writer.add(message, f"messages[{index}]")
    return writer.conversation()


class _Writer:
    def __init__(self, model: Model, *, cloud: bool) -> None:
        self._model = model
        self._cloud = cloud
        self._system: list[Part] = []
        self._turns: list[_Turn] = []
        self._open: Unanswered[tuple[_Turn, str, str]] = Unanswered()
        """Where the result belongs, the provider's id, the name."""
        self._ids: set[str] = set()

    def add(self, message: Mapping[str, Any], where: str) -> None:
        role = message.get("role")
        if not isinstance(role, str):
            role = None
        if role in _SYSTEM:
            self._add_system(self._content(message, where))
        elif role == "user":
            self._turn("user").parts += self._content(message, where)
        elif role == "assistant":
            self._add_assistant(message, where)
        elif role == "tool":
            self._add_result(message, where)
        else:
            refuse_role(where)

    def conversation(self) -> Conversation:
        self._open.check()
        turns = self._turns
        if not turns:
            turns.append(_Turn(role="user", parts=[self._system.pop() if self._system else {"text": NOTHING}]))
        if turns[0].role != "user":
            turns.insert(0, _Turn(role="user"))
        contents = [
            {"role": turn.role, "parts": [*turn.results.values()] or turn.parts or [{"text": NOTHING}]}
            for turn in turns
        ]
        return Conversation(system=self._system, contents=contents)

    def _content(self, message: Mapping[str, Any], where: str) -> list[Part]:
        return content_parts(message.get("content"), where, cloud=self._cloud)

    def _turn(self, role: str) -> _Turn:
        """The turn that goes on; parts of neighbours in the same role are one turn."""
        if not self._turns or self._turns[-1].role != role or self._turns[-1].results:
            self._turns.append(_Turn(role=role))
        return self._turns[-1]

    def _add_system(self, parts: list[Part]) -> None:
        if not self._turns:
            self._system += parts
        elif parts:
            self._turn("user").parts += [
                {"text": f"<system>\n{part['text']}\n</system>"} if "text" in part else part for part in parts
            ]

    def _add_assistant(self, message: Mapping[str, Any], where: str) -> None:
        parts = self._content(message, where)
        parts += content_parts(message.get("refusal"), where, cloud=self._cloud)
        results = _Turn(role="user")
        for index, call in enumerate(calls_of(message, where)):
            written = self._function_call(call, f"{where}.tool_calls[{index}]", results)
            signatures = signatures_of(call)
            if index == 0:
                parts = signed_texts(parts, signatures)
            if signatures.call:
                written["thoughtSignature"] = signatures.call
            elif index == 0 and self._model.signs_calls:
                written["thoughtSignature"] = PLACEHOLDER
            parts.append(written)
        if parts:
            self._turn("model").parts += parts
        if results.results:
            self._turns.append(results)

    def _function_call(self, call: Any, place: str, results: _Turn) -> Part:
        called = read_call(call, place)
        own = self._own_id(bare(called.identifier))
        results.results[own] = {}
        self._open.add(called.identifier, (results, own, called.name))
        return {"functionCall": {"id": own, "name": called.name, "args": arguments_of(called, place)}}

    def _own_id(self, identifier: str) -> str:
        """An id of its own in the whole conversation."""
        own, count = identifier, 1
        while own in self._ids:
            count += 1
            own = f"{identifier}_{count}"
        self._ids.add(own)
        return own

    def _add_result(self, message: Mapping[str, Any], where: str) -> None:
        turn, own, name = self._open.answer(message, where)
        parts = self._content(message, where)
        media = [part for part in parts if "text" not in part]
        if media and not self._model.results_with_media:
            raise UnsupportedFeature("Results of tools can only be text for this model.", param=where)
        # "Use output for the function's output and error for its error".
        key = "error" if message.get("is_error") is True else "output"
        response: Part = {"id": own, "name": name, "response": {key: "\n".join(_texts(parts))}}
        turn.results[own] = {"functionResponse": {**response, "parts": media} if media else response}


def _texts(parts: list[Part]) -> list[str]:
    return [part["text"] for part in parts if "text" in part]
