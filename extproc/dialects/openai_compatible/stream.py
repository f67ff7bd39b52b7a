"""A compatible server's stream, passed on event by event: bytes untouched wherever they may stay."""

from __future__ import annotations

from typing import Any, Final

import orjson

from extproc.dialects.base import GarbledReply, StreamState
from extproc.dialects.openai_compatible.errors import in_band_error
from extproc.dialects.openai_compatible.normal import Calls, normal_usage, normalise_finish, normalise_message
from extproc.framing.sse import Event, encode_event
from extproc.openai.alike import alike
from extproc.openai.call import Call, Operation
from extproc.openai.json_text import splice, top_level_members
from extproc.openai.usage import Usage

_DONE: Final = b"[DONE]"
_LEARNT_EVERY: Final = 8
"""Chunks after which it is looked anew what they have in common: some servers tell the time in them."""


class OpenAIStream:
    """The StreamTranslator of a compatible server.

    The model's name is given back as the client wrote it. The usage chunk, which arrives because the gateway asked
    for it, is kept from a client that did not.
    https://platform.openai.com/docs/api-reference/chat-streaming
    """

    __slots__ = ("_call", "_calls", "_learnt_at", "_model_json", "_ours", "_theirs", "_usage_in", "state")

    def __init__(self, call: Call, *, usage_in: str | None = None) -> None:
        self.state = StreamState()
        self._call = call
        self._calls = Calls()
        self._model_json = orjson.dumps(call.model)
        self._usage_in = usage_in
        self._theirs: bytes | None = None
        self._ours = b""
        self._learnt_at = 0

    def event(self, event: Event) -> bytes:
        """Raises UpstreamError for an error event, GarbledReply for data that is not a JSON object."""
        if self.state.complete:
            return b""
        if not event.data:
            return event.raw
        if event.data == _DONE:
            self.state.complete = True
            self.state.alike = None
            return event.raw
        fields = _parse(event.data)
        error = in_band_error(fields)
        if error is not None:
            raise error
        return self._chunk(event, fields)

    def close(self) -> bytes:
        """Some servers end without ``[DONE]``: with every choice finished the answer is whole."""
        if self.state.complete or not self.state.begun or self.state.begun != self.state.finished:
            return b""
        self.state.complete = True
        return encode_event(_DONE)

    def _chunk(self, event: Event, fields: dict[str, Any]) -> bytes:
        state, choices = self.state, fields.get("choices")
        changed, says = self._read(choices) if choices else (False, False)
        served, tier = fields.get("model"), fields.get("service_tier")
        # Before the usage, whose price depends on it.
        if isinstance(served, str) and served != state.model:
            state.model, state.alike = served, None
        if isinstance(tier, str) and tier != state.service_tier:
            state.service_tier, state.alike = tier, None
        changes: dict[str, bytes | None] = {"choices": orjson.dumps(choices)} if changed else {}
        data = event.data
        counted = False
        if self._usage_in is not None or fields.get("usage") is not None:
            counted = self._count(fields, changes)
        elif "usage" in fields and choices and not self._call.include_usage:
            data = _without_null_usage(data)
        if not counted and not says:
            # What a content filter remarks beside the answer, which may still be an error:
            # https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-streaming
            return b""
        state.events += 1
        if not choices and not self._call.include_usage:
            return b""
        if changes:
            data = splice(data, changes)
        if isinstance(served, str) and served != self._call.model:
            data = self._renamed(data)
        passed_on = event.raw if data is event.data else encode_event(data, event.event)
        if not (changes or counted) and state.events > self._learnt_at:
            self._learn(event.raw, fields, passed_on)
        return passed_on

    def _learn(self, theirs: bytes, fields: dict[str, Any], ours: bytes) -> None:
        """What the chunks that follow have in common with this one, if it is one of those that most are."""
        choices = fields.get("choices")
        if self._call.operation is not Operation.CHAT or not isinstance(choices, list) or len(choices) != 1:
            return
        (choice,) = choices
        delta = choice.get("delta") if isinstance(choice, dict) and not choice.get("finish_reason") else None
        if isinstance(delta, dict) and delta.keys() == {"content"}:
            self._learnt_at = self.state.events + _LEARNT_EVERY
            self.state.alike = alike(theirs, fields, ours)

    def _renamed(self, data: bytes) -> bytes:
        """With the client's name for the model: mostly what comes before its end is what came before it last time."""
        if self._theirs is None or not data.startswith(self._theirs):
            place = top_level_members(data, ("model",))["model"]
            self._theirs = data[: place.value_end]
            self._ours = data[: place.value_start] + self._model_json
        return self._ours + data[len(self._theirs) :]

    def _count(self, fields: dict[str, Any], changes: dict[str, bytes | None]) -> bool:
        """Whether the chunk has usage. It stays with a choice only where the client wants it."""
        given = fields.get("usage")
        if given is None and self._usage_in is not None:
            member = fields.get(self._usage_in)
            given = member.get("usage") if isinstance(member, dict) else None
        usage, shown = normal_usage(given)
        self.state.usage = usage or self.state.usage
        if "usage" in fields:
            if fields.get("choices") and not self._call.include_usage:
                changes["usage"] = None
            elif (written := self._beside(usage, given, shown)) is not None:
                changes["usage"] = written
        return usage is not None

    def _beside(self, usage: Usage | None, given: Any, shown: bytes | None) -> bytes | None:
        """The usage as the client shall see it; None where that is how it came."""
        beside = self.state.beside_usage(usage) if usage is not None and self._call.include_usage else None
        if not beside:
            return shown
        return orjson.dumps({**(given if shown is None else orjson.loads(shown)), **beside})

    def _read(self, choices: object) -> tuple[bool, bool]:
        """Take note of the choices, and change them in place where the server has ways of its own.

        Returns whether it has, and whether any of them goes on or ends.
        """
        if not isinstance(choices, list):
            raise GarbledReply("The provider's stream has a chunk whose 'choices' is not an array.")
        state, changed, says = self.state, False, self._call.operation is not Operation.CHAT
        for choice in choices:
            if not isinstance(choice, dict):
                says = True
                continue
            index = choice.get("index", 0)
            if not isinstance(index, int):
                raise GarbledReply("The provider's stream has a choice whose 'index' is not a number.")
            state.begun.add(index)
            if choice.get("finish_reason"):
                changed |= normalise_finish(choice)
                state.finished.add(index)
                says = True
            delta = choice.get("delta")
            says = says or "delta" in choice
            text = delta.get("content") if isinstance(delta, dict) and len(delta) == 1 else None
            if isinstance(text, str):  # and nothing else, as in nearly every chunk
                state.produced.add(text)
                continue
            if isinstance(delta, dict):
                changed |= normalise_message(delta, whole=False)
                calls = delta.get("tool_calls")
                if calls:
                    changed |= self._calls.number(index, calls)
            state.produced.add_choice(choice)
        return changed, says


def _without_null_usage(data: bytes) -> bytes:
    """A server that was asked for usage says in every chunk that there is none yet, of which not every client knows."""
    before, found, after = data.rpartition(b',"usage":null')
    # Where no object is closed after it but the outermost one, it stands in that.
    if found and after.count(b"}") == 1:
        return before + after
    return splice(data, {"usage": None})


def _parse(data: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        message = "The provider's stream has an event that is not a JSON object."
        raise GarbledReply(message)
    return fields
