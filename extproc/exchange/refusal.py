"""A request that arrival refused: the value from which metrics and records are written."""

from __future__ import annotations

from dataclasses import dataclass

from extproc.admission.caller import ANONYMOUS, Caller
from extproc.errors import KortexError
from extproc.exchange.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """``caller`` is None where it is not known who is calling: the key was missing or wrong. Times are Unix seconds."""

    error: KortexError
    exchange: str
    """The request's own id."""
    request_id: str | None
    path: str
    arrived: float
    ended: float
    caller: Caller | None = ANONYMOUS
    trace: Trace | None = None
