"""Blocks as they come in → chat completion chunks: https://platform.openai.com/docs/api-reference/chat-streaming"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from extproc.dialects.base import GarbledReply, StreamState
from extproc.dialects.blocks.answer import THINKING, Annotate, arguments_text, tool_call
from extproc.dialects.blocks.thoughts import Thoughts, detail
from extproc.framing.sse import encode_event
from extproc.openai.call import Call
from extproc.openai.usage import usage_fields

Json = dict[str, Any]

_DONE: Final = encode_event(b"[DONE]")


@dataclass(slots=True, kw_only=True)
class _Block:
    """A content block under way. ``index`` is a tool call's place among the calls."""

    fields: Json
    kind: str
    index: int = 0
    start: int = 0
    written: bool = False
    citations: list[Any] = field(default_factory=list)


class BlockStream:
    """The chunks of one answer. Blocks are told apart by any key; methods give the client's bytes, or none.

    Nothing counts as an event before the first content: an overloaded provider may still say so after its first words
    about the message, and then the next backend is asked. A block that was never begun is a KeyError.
    """

    __slots__ = ("_annotate", "_blocks", "_call", "_calls", "_head", "_length", "_thoughts", "finished", "state")

    def __init__(self, call: Call, annotate: Annotate) -> None:
        self.state = StreamState()
        self.finished = False
        self._call = call
        self._annotate = annotate
        self._head = b""
        self._blocks: dict[Any, _Block] = {}
        self._calls = 0
        self._length = 0
        self._thoughts = Thoughts(call.model)

    def begin(self, identifier: Any, model: str) -> bytes:
        """``model`` is the provider's name for who answers."""
        self._thoughts = Thoughts(model)
        # Written once: the rest of every chunk follows it.
        head = {
            "id": identifier,
            "object": "chat.completion.chunk",
            "created": self._call.created,
            "model": self._call.model,
        }
        self._head = orjson.dumps(head)[:-1] + b',"choices":['
        return self._chunk({"role": "assistant", "content": ""})

    def begins(self, key: Any) -> bool:
        """Whether a block of this key is not under way."""
        return key not in self._blocks

    def begin_block(self, key: Any, fields: Json) -> bytes:
        """``fields`` is the block as far as it is known."""
        self.state.events += 1
        block = _Block(fields=dict(fields), kind=str(fields["type"]), start=self._length)
        self._blocks[key] = block
        if block.kind == "text" and fields.get("text"):
            return self.text(fields["text"])
        if block.kind == "thinking" and fields.get("thinking"):
            return self._chunk({"reasoning_content": fields["thinking"]})
        if block.kind != "tool_use":
            return b""
        block.index = self._calls
        self._calls += 1
        opening = tool_call(fields, self._thoughts.call_id(str(fields["id"])), "")
        return self._chunk({"tool_calls": [{"index": block.index, **opening}]})

    def text(self, text: str) -> bytes:
        """More of a text."""
        if not text:
            return b""
        self._length += len(text)
        self._thoughts.write(text)
        return self._chunk({"content": text})

    def arguments(self, key: Any, fragment: str) -> bytes:
        """More of a tool's input."""
        return self._arguments(self._blocks[key], fragment)

    def thought(self, key: Any, name: str, text: str) -> bytes:
        """More of a thought's ``thinking``, which the client sees, or of its ``signature`` or ``data``."""
        fields = self._blocks[key].fields
        fields[name] = fields.get(name, "") + text
        return self._chunk({"reasoning_content": text}) if text and name == "thinking" else b""

    def cite(self, key: Any, citation: Any) -> None:
        """A source of the text under way."""
        self._blocks[key].citations.append(citation)

    def end_block(self, key: Any) -> bytes:
        """The block is whole."""
        block = self._blocks.pop(key)
        if block.kind in THINKING:
            self._thoughts.think(block.fields)
            return self._chunk({"reasoning_details": [detail(block.fields)]})
        if block.kind == "tool_use" and not block.written:
            return self._arguments(block, arguments_text(block.fields.get("input")))
        found = (self._annotate(citation, block.start, self._length) for citation in block.citations)
        annotations = [cited for cited in found if cited]
        return self._chunk({"annotations": annotations}) if annotations else b""

    def finish(self, reason: str, refused: str | None = None) -> bytes:
        """Nothing but usage follows. ``reason`` is OpenAI's; ``refused`` is the sentence for ``refusal``."""
        self.state.events += 1
        if self.finished:
            return b""
        self.finished = True
        said = self._chunk({"refusal": refused}) if refused else b""
        return said + self._chunk({}, reason)

    def end(self) -> bytes:
        """The provider has said everything; without a finish reason that was not a whole answer."""
        if not self.finished:
            return b""
        self.state.complete = True
        if not self._call.include_usage or self.state.usage is None:
            return _DONE
        usage = orjson.dumps(usage_fields(self.state.usage) | self.state.beside_usage(self.state.usage))
        return encode_event(self._head + b'],"usage":' + usage + b"}") + _DONE

    def _arguments(self, block: _Block, fragment: str) -> bytes:
        # A server tool's input is not for the client, who never called it.
        if block.kind != "tool_use" or not fragment:
            return b""
        block.written = True
        return self._chunk({"tool_calls": [{"index": block.index, "function": {"arguments": fragment}}]})

    def _chunk(self, delta: Json, finish: str | None = None) -> bytes:
        if not self._head:
            raise GarbledReply("The provider's stream does not begin where a message begins.")
        self.state.produced.add_said(delta)
        choice = orjson.dumps({"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish})
        return encode_event(self._head + choice + b"]}")
