"""The client's messages → ``system`` and alternating turns, tool results right behind their calls.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls#handling-results-from-client-tools
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from extproc.dialects.blocks.content import PDF, content_blocks, with_cache_control
from extproc.dialects.blocks.thoughts import detailed_thoughts, thoughts_of
from extproc.openai.tool_call_id import bare
from extproc.openai.tool_loop import Unanswered, arguments_of, calls_of, read_call, refuse_role

Block = dict[str, Any]

NOTHING: Final = "(no message)"
"""Stands where the provider wants a turn and the client wrote none."""

_SYSTEM: Final = frozenset({"system", "developer"})
# Converse takes no longer ones.
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(slots=True, kw_only=True)
class _Turn:
    role: str
    blocks: list[Block] = field(default_factory=list)
    results: dict[str, Block] = field(default_factory=dict)
    """By the provider's id, in the order of the calls; before ``blocks``."""

    def content(self) -> list[Block]:
        return [*self.results.values(), *self.blocks] if self.results else self.blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """``unthought``: the tool loop under way has calls and no thoughts, because there were none or they are lost."""

    system: list[Block]
    messages: list[Block]
    tools_used: tuple[str, ...]
    """Names of the tools that were called."""
    unthought: bool


def encode_messages(
    messages: list[Mapping[str, Any]], model: str, *, system_turns: bool, documents: frozenset[str] = PDF
) -> Conversation:
    """``system_turns``: the model knows instructions in the middle; others get them in the user's turn, marked.

    ``documents``: see ``content_blocks``. Raises InvalidRequest and UnsupportedFeature.
    """
    writer = _Writer(model, documents, system_turns=system_turns)
    for index, message in enumerate(messages):
        writer.add(message, f"messages[{index}]")
    return writer.conversation()


class _Writer:
    def __init__(self, model: str, documents: frozenset[str], *, system_turns: bool) -> None:
        self._model = model
        self._documents = documents
        self._system_turns = system_turns
        self._system: list[Block] = []
        self._turns: list[_Turn] = []
        self._open: Unanswered[tuple[_Turn, str]] = Unanswered()
        """Where the result belongs, and the provider's id."""
        self._ids: set[str] = set()
        self._tools_used: dict[str, None] = {}
        self._called = False
        self._thought = False
        """Both of the tool loop under way, that is, since a user last spoke."""

    def add(self, message: Mapping[str, Any], where: str) -> None:
        role = message.get("role")
        if not isinstance(role, str):
            role = None
        if role in _SYSTEM:
            self._add_system(message, where)
        elif role == "user":
            self._add_user(_marked(content_blocks(message.get("content"), where, self._documents), message))
        elif role == "assistant":
            self._add_assistant(message, where)
        elif role == "tool":
            self._add_result(message, where)
        else:
            refuse_role(where)

    def conversation(self) -> Conversation:
        self._open.check()
        turns = self._settled_turns()
        if not turns:
            turns.append(_Turn(role="user", blocks=[self._system.pop() if self._system else _text(NOTHING)]))
        if turns[0].role != "user":
            turns.insert(0, _Turn(role="user", blocks=[_text(NOTHING)]))
        if turns[-1].role == "assistant":
            _strip_end(turns[-1].blocks)
        written = [{"role": turn.role, "content": _shortest(turn.content() or [_text(NOTHING)])} for turn in turns]
        return Conversation(
            system=self._system,
            messages=written,
            tools_used=tuple(self._tools_used),
            unthought=self._called and not self._thought,
        )

    def _turn(self, role: str) -> _Turn:
        if not self._turns or self._turns[-1].role != role:
            self._turns.append(_Turn(role=role))
        return self._turns[-1]

    def _add_user(self, blocks: list[Block]) -> None:
        self._called = self._thought = False
        self._turn("user").blocks += blocks

    def _add_system(self, message: Mapping[str, Any], where: str) -> None:
        blocks = _marked(content_blocks(message.get("content"), where, self._documents), message)
        if not self._turns:
            self._system += blocks
        elif blocks:
            self._turn("system").blocks += blocks

    def _settled_turns(self) -> list[_Turn]:
        """Instructions in the middle may only stand between a user's turn and the assistant's.

        Elsewhere, and for models that do not know them, they become part of the user's turn, wrapped as what they are.
        https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages
        """
        settled: list[_Turn] = []
        for index, turn in enumerate(self._turns):
            follower = self._turns[index + 1].role if index + 1 < len(self._turns) else "assistant"
            after_user = bool(settled) and settled[-1].role == "user"
            if turn.role == "system" and not (self._system_turns and after_user and follower == "assistant"):
                turn = _Turn(role="user", blocks=[_wrapped(block) for block in turn.blocks])  # noqa: PLW2901 - the same turn, as the model can read it
            if settled and settled[-1].role == turn.role and not turn.results:
                settled[-1].blocks += turn.blocks
            else:
                settled.append(turn)
        return settled

    def _add_assistant(self, message: Mapping[str, Any], where: str) -> None:
        calls = calls_of(message, where)
        text = content_blocks(message.get("content"), where, self._documents) + content_blocks(
            message.get("refusal"), where
        )
        thoughts = list(detailed_thoughts(message.get("reasoning_details")))
        blocks = [] if calls else [*thoughts, *text]
        results = _Turn(role="user")
        for index, call in enumerate(calls):
            block = self._tool_use(call, f"{where}.tool_calls[{index}]", results)
            between = thoughts_of(str(call.get("id")), self._model)
            if between and not (index == 0 and thoughts):
                blocks += _placed(between, text)
            elif index == 0:
                blocks += thoughts
            if index == 0:
                blocks += text
                text = []
            blocks.append(block)
        if not blocks:
            return
        turn = self._turn("assistant")
        turn.blocks += _marked(blocks, message)
        self._called = self._called or bool(calls)
        self._thought = self._thought or any("thinking" in block["type"] for block in turn.blocks)
        if results.results:
            self._turns.append(results)

    def _tool_use(self, call: Any, place: str, results: _Turn) -> Block:
        called = read_call(call, place)
        self._tools_used[called.name] = None
        own = self._own_id(bare(called.identifier))
        results.results[own] = {}
        self._open.add(called.identifier, (results, own))
        block = {"type": "tool_use", "id": own, "name": called.name, "input": arguments_of(called, place)}
        return with_cache_control(block, call)

    def _own_id(self, identifier: str) -> str:
        """An id of the characters the provider takes, and of its own in the whole conversation."""
        own = identifier
        if not _ID.fullmatch(own):
            own = f"call_{sha256(identifier.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"
        base, count = own, 1
        while own in self._ids:
            count += 1
            own = f"{base}_{count}"
        self._ids.add(own)
        return own

    def _add_result(self, message: Mapping[str, Any], where: str) -> None:
        turn, own = self._open.answer(message, where)
        block: Block = {"type": "tool_result", "tool_use_id": own}
        content = content_blocks(message.get("content"), where, self._documents)
        if content:
            block["content"] = _shortest(content)
        if message.get("is_error") is True:
            block["is_error"] = True
        turn.results[own] = with_cache_control(block, message)


def _placed(between: Iterable[Block | int], text: list[Block]) -> list[Block]:
    """Thinking blocks with the text that stood between them, which is taken off ``text``."""
    placed: list[Block] = []
    for item in between:
        if isinstance(item, dict):
            placed.append(item)
            continue
        if len(text) == 1 and text[0]["type"] == "text" and len(text[0]["text"]) >= item:
            said, rest = text[0]["text"][:item], text[0]["text"][item:]
            placed += [_text(said)] if said.strip() else []
            text[:] = [{**text[0], "text": rest}] if rest.strip() else []
    return placed


def _marked(blocks: list[Block], message: Mapping[str, Any]) -> list[Block]:
    return [*blocks[:-1], with_cache_control(blocks[-1], message)] if blocks and "cache_control" in message else blocks


def _shortest(blocks: list[Block]) -> Any:
    # A text block of two members has nothing beside its type and its text.
    return blocks[0]["text"] if len(blocks) == 1 and len(blocks[0]) == 2 and "text" in blocks[0] else blocks


def _strip_end(blocks: list[Block]) -> None:
    """The provider refuses a beginning of an answer that ends in white space."""
    if blocks and blocks[-1]["type"] == "text":
        blocks[-1] = {**blocks[-1], "text": blocks[-1]["text"].rstrip()}


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _wrapped(block: Block) -> Block:
    return {**block, "text": f"<system>\n{block['text']}\n</system>"} if block["type"] == "text" else block
