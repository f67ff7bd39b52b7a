"""A compatible server's stream, passed on event by event: bytes untouched wherever they may stay."""

from __future__ import annotations

from typing import Any, Final

import orjson

from extproc.dialects.base import GarbledReply, StreamState
from extproc.dialects.openai_compatible.errors import in_band_error
from extproc.framing.sse import Event, encode_event
from extproc.openai.call import Call
from extproc.openai.json_text import splice
from extproc.openai.usage import read_usage

_DONE: Final = b"[DONE]"


class OpenAIStream:
    """The StreamTranslator of a compatible server.

    The model's name is given back as the client wrote it. The usage chunk, which arrives because the gateway asked
    for it, is kept from a client that did not.
    https://platform.openai.com/docs/api-reference/chat-streaming
    """

    __slots__ = ("_begun", "_call", "_finished", "_model_json", "state")

    def __init__(self, call: Call) -> None:
        self.state = StreamState()
        self._call = call
        self._model_json = orjson.dumps(call.model)
        self._begun: set[int] = set()
        self._finished: set[int] = set()

    def event(self, event: Event) -> bytes:
        """Raises UpstreamError for an error event, GarbledReply for data that is not a JSON object."""
        if self.state.complete:
            return b""
        if not event.data:
            return event.raw
        if event.data == _DONE:
            self.state.complete = True
            return event.raw
        fields = _parse(event.data)
        error = in_band_error(fields)
        if error is not None:
            raise error
        self.state.events += 1
        return self._chunk(event, fields)

    def close(self) -> bytes:
        """Some servers end without ``[DONE]``: with every choice finished the answer is whole."""
        if self.state.complete or not self._begun or self._begun != self._finished:
            return b""
        self.state.complete = True
        return encode_event(_DONE)

    def _chunk(self, event: Event, fields: dict[str, Any]) -> bytes:
        changes: dict[str, bytes | None] = {}
        choices = fields.get("choices")
        if choices:
            self._note_choices(choices)
            self.state.produced.add_choices(choices)
        self._note_served(fields)
        if "usage" in fields:
            self._note_usage(fields["usage"], changes)
            if choices and not self._call.include_usage:
                changes["usage"] = None
        if not choices and not self._call.include_usage:
            return b""
        if isinstance(fields.get("model"), str) and fields["model"] != self._call.model:
            changes["model"] = self._model_json
        if not changes:
            return event.raw
        return encode_event(splice(event.data, changes), event.event)

    def _note_served(self, fields: dict[str, Any]) -> None:
        """Before the usage, whose price depends on it."""
        served, tier = fields.get("model"), fields.get("service_tier")
        if isinstance(served, str):
            self.state.model = served
        if isinstance(tier, str):
            self.state.service_tier = tier

    def _note_usage(self, given: object, changes: dict[str, bytes | None]) -> None:
        usage = read_usage(given)
        if usage is None or not isinstance(given, dict):
            return
        self.state.usage = usage
        beside = self.state.beside_usage(usage) if self._call.include_usage else None
        if beside:
            changes["usage"] = orjson.dumps({**given, **beside})

    def _note_choices(self, choices: object) -> None:
        if not isinstance(choices, list):
            message = "The provider's stream has a chunk whose 'choices' is not an array."
            raise GarbledReply(message)
        for choice in choices:
            if isinstance(choice, dict):
                index = choice.get("index", 0)
                self._begun.add(index)
                if choice.get("finish_reason"):
                    self._finished.add(index)


def _parse(data: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        message = "The provider's stream has an event that is not a JSON object."
        raise GarbledReply(message)
    return fields
