"""The wall of faults as values: what a provider does, and what the gateway promises its client then (README)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final


class Act(Enum):
    """What a fake provider does with a request."""

    ANSWER = auto()
    ANSWER_LATE = auto()
    """After half of the time that the first token may take."""
    STATUS = auto()
    STATUS_ONCE = auto()
    """The first request is refused, those after it are answered."""
    RESET = auto()
    """The connection is reset before any header."""
    SILENCE = auto()
    HEADERS_ONLY = auto()
    """A 200, and nothing after it."""
    ERROR_IN_BAND = auto()
    """A 200 that is an error; in a stream, its first event."""
    CUT = auto()
    """Ends in the middle, as if it were whole."""
    RESET_MIDWAY = auto()
    STALL = auto()
    GARBLE = auto()


class Promise(StrEnum):
    """What the gateway's failover table says of a fault."""

    ANSWERS = "the provider's own answer"
    RECOVERS = "the same backend's answer, where retries allow a second try, else the next one's"
    MOVES = "the next backend's answer, or an error when there is none"
    STAYS = "an error, and no other backend asked"
    BREAKS = "an error event in the stream, and no [DONE]"
    CUTS = "a cut connection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """``error`` names the body of a status. A broken stream has another promise than a broken whole reply."""

    name: str
    act: Act
    promise: Promise
    streamed: Promise | None = None
    status: int = 200
    error: str = "any"
    retry_after: int | None = None

    def promised(self, *, stream: bool) -> Promise:
        """What a client may expect."""
        return self.streamed if stream and self.streamed is not None else self.promise


def _status(status: int, name: str | None = None, error: str = "any", retry_after: int | None = None) -> Fault:
    promise = Promise.STAYS if error == "content_filter" else Promise.MOVES
    return Fault(
        name=name or str(status),
        act=Act.STATUS,
        promise=promise,
        status=status,
        error=error,
        retry_after=retry_after,
    )


HEALTHY: Final = Fault(name="healthy", act=Act.ANSWER, promise=Promise.ANSWERS)
DOWN: Final = _status(503, name="down")
REFUSED: Final = Fault(name="connection refused", act=Act.ANSWER, promise=Promise.MOVES)
"""Its act is not to listen at all."""

WALL: Final[tuple[Fault, ...]] = (
    _status(429),
    _status(429, name="429, Retry-After 1", retry_after=1),
    _status(429, name="429, Retry-After 600", retry_after=600),
    _status(500),
    _status(502),
    _status(503),
    _status(529),
    _status(401),
    _status(404),
    _status(400, name="400 context length", error="context_length"),
    _status(400, name="400 content filter", error="content_filter"),
    Fault(name="503 once", act=Act.STATUS_ONCE, promise=Promise.RECOVERS, status=503),
    Fault(name="reset before headers", act=Act.RESET, promise=Promise.MOVES),
    Fault(name="silence", act=Act.SILENCE, promise=Promise.MOVES),
    Fault(name="headers, then silence", act=Act.HEADERS_ONLY, promise=Promise.MOVES),
    Fault(name="slow first token", act=Act.ANSWER_LATE, promise=Promise.ANSWERS),
    Fault(name="error in a 200", act=Act.ERROR_IN_BAND, promise=Promise.MOVES),
    Fault(name="cut in the middle", act=Act.CUT, promise=Promise.MOVES, streamed=Promise.BREAKS),
    Fault(name="stalled in the middle", act=Act.STALL, promise=Promise.MOVES, streamed=Promise.BREAKS),
    Fault(name="garbled in the middle", act=Act.GARBLE, promise=Promise.MOVES, streamed=Promise.BREAKS),
    Fault(name="reset in the middle", act=Act.RESET_MIDWAY, promise=Promise.MOVES, streamed=Promise.CUTS),
)
