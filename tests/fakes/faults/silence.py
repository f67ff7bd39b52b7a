"""Faults before the first byte of a reply: nothing at all, an ended connection, something else than HTTP."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from tests.fakes.faults.fault import Fault
from tests.fakes.steps import Await, Fin, Reply, Reset, Send, silence


@dataclass(frozen=True, slots=True)
class Silence(Fault):
    """Reads the request and sends nothing, for ``seconds`` or for ever (None)."""

    seconds: float | None = None

    def apply(self, reply: Reply) -> Reply:
        return replace(reply, before=(*reply.before, silence(self.seconds)))


@dataclass(frozen=True, slots=True)
class HeldBack(Fault):
    """Reads the request and answers when ``event`` is set."""

    event: threading.Event

    def apply(self, reply: Reply) -> Reply:
        return replace(reply, before=(*reply.before, Await(self.event)))


@dataclass(frozen=True, slots=True)
class ResetBeforeHeaders(Fault):
    """Reads the request, then TCP RST."""

    def apply(self, reply: Reply) -> Reply:
        return replace(reply, before=(*reply.before, Reset()))


@dataclass(frozen=True, slots=True)
class CloseBeforeHeaders(Fault):
    """Reads the request, then TCP FIN without a byte."""

    def apply(self, reply: Reply) -> Reply:
        return replace(reply, before=(*reply.before, Fin()))


@dataclass(frozen=True, slots=True)
class NotHttp(Fault):
    """Answers with bytes that are no HTTP, then TCP FIN."""

    payload: bytes = b"\x00\xffnot a status line\r\n\r\n"

    def apply(self, reply: Reply) -> Reply:
        return replace(reply, before=(*reply.before, Send(self.payload, counted=False), Fin()))
