"""Faults after the first byte of a reply: its body stalls, is cut, garbled, slow, or holds something unexpected."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from tests.fakes import provider_error
from tests.fakes.faults.fault import Fault
from tests.fakes.provider_error import ProviderError
from tests.fakes.steps import DONE, Fin, Json, Reply, Reset, Send, Sleep, Step, compact, event, silence


@dataclass(frozen=True, slots=True)
class HeadersThenSilence(Fault):
    """Sends the headers at once and the body after ``seconds`` or never (None)."""

    seconds: float | None = None

    def apply(self, reply: Reply) -> Reply:
        return reply.insert(0, silence(self.seconds))


@dataclass(frozen=True, slots=True)
class StallAfter(Fault):
    """Sends ``events`` events, then nothing for ``seconds`` or for ever (None)."""

    events: int
    seconds: float | None = None

    def apply(self, reply: Reply) -> Reply:
        return reply.insert(self.events, silence(self.seconds))


@dataclass(frozen=True, slots=True)
class LingerAtEnd(Fault):
    """Sends everything, but the end of a chunked body only after ``seconds`` or never (None)."""

    seconds: float | None = None

    def apply(self, reply: Reply) -> Reply:
        return replace(reply, body=(*reply.body, silence(self.seconds)))


@dataclass(frozen=True, slots=True)
class GarbleAfter(Fault):
    """Sends ``events`` events, then a line that is no JSON, then the rest as if nothing had happened."""

    events: int
    payload: bytes = b'data: {"id":"chatcmpl-1","choices":[{"ind\n\n'

    def apply(self, reply: Reply) -> Reply:
        return reply.insert(self.events, Send(self.payload))


@dataclass(frozen=True, slots=True)
class ErrorAfter(Fault):
    """Sends ``events`` events, then an error event as the last one, or with [DONE] behind it (``then="done"``)."""

    events: int
    error: ProviderError = provider_error.OVERLOADED
    then: Literal["end", "done"] = "end"

    def apply(self, reply: Reply) -> Reply:
        rest = (DONE,) if self.then == "done" else ()
        return reply.truncate(self.events).insert(self.events, event(self.error.document), *rest)


@dataclass(frozen=True, slots=True)
class CutAfter(Fault):
    """Sends ``events`` events and ends: by TCP RST, by TCP FIN, or "clean", as if the reply were whole.

    ``pause`` seconds before the end give the reader time to pass on what it has.
    """

    events: int
    how: Literal["reset", "fin", "clean"]
    pause: float = 0.0

    def apply(self, reply: Reply) -> Reply:
        if self.how == "clean":
            return reply.truncate(self.events)
        return reply.insert(self.events, Sleep(self.pause), Reset() if self.how == "reset" else Fin())


@dataclass(frozen=True, slots=True)
class CutAt(Fault):
    """Ends after ``size`` bytes of the body (not yet encoded), in the midst of an event or a JSON document."""

    size: int
    how: Literal["reset", "fin"]
    pause: float = 0.0

    def apply(self, reply: Reply) -> Reply:
        end = (Sleep(self.pause), Reset() if self.how == "reset" else Fin())
        left = self.size
        for index, step in enumerate(reply.body):
            if not isinstance(step, Send):
                continue
            if left <= len(step.payload):
                halves = (replace(step, payload=step.payload[:left]), *end, replace(step, payload=step.payload[left:]))
                return replace(reply, body=(*reply.body[:index], *halves, *reply.body[index + 1 :]))
            left -= len(step.payload)
        raise ValueError(f"a fault cuts at byte {self.size}, but the body has only {self.size - left}")


@dataclass(frozen=True, slots=True)
class SlowEvents(Fault):
    """Waits ``delay`` seconds between every two events."""

    delay: float

    def apply(self, reply: Reply) -> Reply:
        body: list[Step] = []
        for step in reply.body:
            body += [Sleep(self.delay), step] if body else [step]
        return replace(reply, body=tuple(body))


@dataclass(frozen=True, slots=True)
class KeepAliveComments(Fault):
    """Sends ``count`` signs of life, ``delay`` seconds apart, before the first event, or before each one.

    They are comments in an event stream and empty lines before a JSON body, as DeepSeek and OpenRouter send them:
    https://api-docs.deepseek.com/quick_start/rate_limit, https://openrouter.ai/docs/api-reference/streaming.
    """

    count: int = 1
    delay: float = 0.0
    before: Literal["first", "each"] = "each"

    def apply(self, reply: Reply) -> Reply:
        sign = Send(b": keep-alive\n\n" if reply.is_stream else b"\n", counted=False)
        signs = (sign, Sleep(self.delay)) * self.count
        if self.before == "first":
            return reply.insert(0, *signs)
        body = [part for step in reply.body for part in ((*signs, step) if isinstance(step, Send) else (step,))]
        return replace(reply, body=tuple(body))


@dataclass(frozen=True, slots=True)
class Edited(Fault):
    """Each JSON document of the reply (the body, or an event's data) as ``edit`` returns it; None leaves it out."""

    edit: Callable[[Json], Json | None]

    def apply(self, reply: Reply) -> Reply:
        body = [edited for step in reply.body if (edited := self._edited(step)) is not None]
        return replace(reply, body=tuple(body))

    def _edited(self, step: Step) -> Step | None:
        if not isinstance(step, Send) or step == DONE or not step.counted:
            return step
        prefix, suffix = (b"data: ", b"\n\n") if step.payload.startswith(b"data: ") else (b"", b"")
        document = self.edit(json.loads(step.payload.removeprefix(prefix)))
        return None if document is None else replace(step, payload=prefix + compact(document) + suffix)
