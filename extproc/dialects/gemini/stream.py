"""Gemini's stream → chat completion chunks: https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent"""

from __future__ import annotations

from typing import Any, Final

import orjson

from extproc.dialects.base import GarbledReply, StreamState
from extproc.dialects.gemini.candidate import Said, logprobs
from extproc.dialects.gemini.errors import in_band_error
from extproc.dialects.gemini.response import blocked, parse, reply_id
from extproc.dialects.gemini.usage import read_usage_metadata
from extproc.framing.sse import Event, encode_event
from extproc.openai.call import Call
from extproc.openai.usage import usage_fields

Json = dict[str, Any]

_DONE: Final = encode_event(b"[DONE]")
_MOST_CANDIDATES: Final = 1_000


class GeminiStream:
    """The StreamTranslator of generateContent.

    The provider says no word for the end: it is there when the stream ends and every candidate has said why. So the
    finish reasons wait for ``close``, as do the counts, of which the last ones are the whole reply's.
    """

    __slots__ = ("_call", "_head", "_refusal", "_reply", "_said", "state")

    def __init__(self, call: Call) -> None:
        self.state = StreamState()
        self._call = call
        self._head = b""
        self._reply = ""
        self._said: dict[int, Said] = {}
        self._refusal: str | None = None

    def event(self, event: Event) -> bytes:
        """Raises UpstreamError for an error event, GarbledReply for what the format does not allow."""
        if self.state.complete or not event.data:
            return b""
        fields = parse(event.data, "a stream with an event that is not a JSON object")
        error = in_band_error(fields)
        if error is not None:
            raise error
        try:
            return self._read(fields)
        except (AttributeError, KeyError, TypeError, ValueError) as error_in_shape:
            raise GarbledReply("The provider's stream has an event of an unexpected shape.") from error_in_shape

    def close(self) -> bytes:
        """The ends of the candidates, the counts and ``[DONE]``; nothing where one has not said why it ended."""
        if self.state.complete or not self._said or not all(said.finished for said in self._said.values()):
            return self._close_refused() if self._refusal else b""
        ends = b""
        for said in self._said.values():
            refusal = said.refusal()
            ends += self._chunk(said.index, {"refusal": refusal}) if refusal else b""
            ends += self._chunk(said.index, {}, finish=said.finish_reason())
        return ends + self._end()

    def _read(self, fields: Json) -> bytes:
        usage = read_usage_metadata(fields.get("usageMetadata"))
        self.state.usage = usage or self.state.usage
        model = fields.get("modelVersion")
        self.state.model = model if isinstance(model, str) else self.state.model
        if not self._head:
            self._begin(fields)
        self._refusal = self._refusal or blocked(fields)
        return b"".join(self._candidate(candidate) for candidate in fields.get("candidates") or ())

    def _begin(self, fields: Json) -> None:
        self._reply = reply_id(fields, self._call)
        # Written once: the rest of every chunk follows it.
        head = {
            "id": self._reply,
            "object": "chat.completion.chunk",
            "created": self._call.created,
            "model": self._call.model,
        }
        self._head = orjson.dumps(head)[:-1] + b',"choices":['

    def _candidate(self, candidate: Json) -> bytes:
        index = candidate.get("index") or 0
        if not isinstance(index, int) or not 0 <= index < _MOST_CANDIDATES:
            raise GarbledReply("The provider's stream has a candidate without a place.")
        out = b""
        said = self._said.get(index)
        if said is None:
            said = self._said[index] = Said(self._reply, index)
            self.state.begun.add(index)
            out = self._chunk(index, {"role": "assistant", "content": ""})
        probabilities = logprobs(candidate)
        for delta in said.add(candidate):
            self.state.events += 1
            out += self._chunk(index, delta, probabilities=probabilities)
            probabilities = None
        return out + (self._chunk(index, {}, probabilities=probabilities) if probabilities else b"")

    def _close_refused(self) -> bytes:
        said = self._chunk(0, {"role": "assistant", "content": ""}) + self._chunk(0, {"refusal": self._refusal})
        return said + self._chunk(0, {}, finish="content_filter") + self._end()

    def _end(self) -> bytes:
        self.state.events += 1
        self.state.complete = True
        if not self._call.include_usage or self.state.usage is None:
            return _DONE
        usage = orjson.dumps(usage_fields(self.state.usage) | self.state.beside_usage(self.state.usage))
        return encode_event(self._head + b'],"usage":' + usage + b"}") + _DONE

    def _chunk(self, index: int, delta: Json, *, finish: str | None = None, probabilities: Json | None = None) -> bytes:
        self.state.produced.add_said(delta)
        choice = {"index": index, "delta": delta, "logprobs": probabilities, "finish_reason": finish}
        return encode_event(self._head + orjson.dumps(choice) + b"]}")
