"""What arrival tells the attempts, in one request header between the two listeners: all that an attempt needs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Final
from urllib.parse import quote

import orjson

from extproc.admission.caller import ANONYMOUS, Caller
from extproc.admission.charge import Held, Unit
from extproc.admission.settlement import NOTHING_HELD, Growth, Reservation
from extproc.errors import InternalError
from extproc.headers import DECISION, DECISION_REASON
from extproc.openai.call import Call, Operation
from extproc.openai.stretched import stretch

_PLAIN: Final = " ,;:.()[]_-"
_UNITS: Final = {unit.value: unit for unit in Unit}
_OPERATIONS: Final = {operation.value: operation for operation in Operation}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """``try_ms``: until an attempt's answer begins; ``idle_ms``: between events; the other two: Unix time."""

    operation: Operation
    asked: str
    """The model's name as the client wrote it."""
    model: str
    """The same without the route's prefix: what a backend without a model of its own is asked for."""
    stream: bool
    include_usage: bool
    route: str
    plan: tuple[str, ...]
    """Backends in the order of the attempts."""
    retries: int
    try_ms: int
    idle_ms: int
    arrived_ms: int
    deadline_ms: int | None
    strict: bool = False
    """Refuse a call of which the provider's format would lose something."""
    carries: bool = False
    """See ``extproc.openai.tool_call_id``."""
    input_tokens: int | None = None
    """The prompt's tokens as arrival estimates them, for attempts of which nobody will tell; None where it did not."""
    images: int = 0
    """The request's, where a backend of the plan charges for each."""
    base64: bool = False
    """See ``extproc.openai.call``."""
    caller: Caller = ANONYMOUS
    end_user: str | None = None
    """Whom the call is for, as the key or else the client says; bounded."""
    rule: str | None = None
    """The route's rule that matched; None where its default backend was chosen."""
    experiments: tuple[str, ...] = ()
    """``name=variant`` of each experiment that the request is part of."""
    decision: str | None = None
    """The id under which the choice of the plan is explained."""
    max_output: int | None = None
    """The longest answer, where a budget runs low or pays for no more."""
    less_reasoning: bool = False
    """Whether reasoning is turned down for the same cause."""
    reservation: Reservation = NOTHING_HELD
    """What is to be settled when the request has ended."""
    exchange: str = ""
    """32 hexadecimal digits that no other request has: a request id is the client's to choose."""
    reason: str | None = None
    """Why this plan, in a line."""
    explain: bool = False
    """The reply is to say so."""
    probe: bool = False
    """Whether the first attempt is let through to try whether its backend is back."""

    @property
    def explained(self) -> tuple[tuple[str, str], ...]:
        """Headers that say why it went where it went; none for a client that did not ask, or may not know."""
        if not self.explain:
            return ()
        reason = f"{self.rule or 'default'}: {self.reason}"
        return ((DECISION, self.decision or ""), (DECISION_REASON, quote(reason, safe=_PLAIN)))

    def to_header(self, reservation: Reservation | None = None) -> bytes:
        """Compact JSON, with names only where Envoy's own filter looks for them; without control characters.

        A ``reservation`` that was made after everything else stands beside it, and is read in place of its own.
        """
        told = {"plan": self.plan, "try_ms": self.try_ms, "arrived_ms": self.arrived_ms}
        return orjson.dumps((told, _untold(self), reservation), default=tuple)

    def call(self, body: bytes) -> Call:
        """The client's request, as arrival understood it; made cheaper where a budget runs low."""
        return Call(
            operation=self.operation,
            model=self.asked,
            body=self._stretched(body),
            stream=self.stream,
            include_usage=self.include_usage,
            carries=self.carries,
            base64=self.base64,
            created=self.arrived_ms // 1_000,
        )

    @property
    def stretches(self) -> bool:
        """Whether the client's body is not what a provider gets, whatever its format."""
        return self.max_output is not None or self.less_reasoning

    def _stretched(self, body: bytes) -> bytes:
        if not self.stretches or not body:
            return body
        return stretch(body, self.operation, max_output=self.max_output, less_reasoning=self.less_reasoning)


_TOLD: Final = frozenset({"plan", "try_ms", "arrived_ms"})
"""What ``extproc.bootstrap.trail_filter`` reads, by these names."""
_UNTOLD: Final = tuple([field.name for field in fields(Assignment) if field.name not in _TOLD])
_untold: Final = attrgetter(*_UNTOLD)


def read_assignment(header: str | None) -> Assignment:
    """The inverse of ``to_header``. Raises InternalError: the request did not come through the edge listener."""
    try:
        told, untold, reservation = orjson.loads(header or "")
        told["plan"] = tuple(told["plan"])
        told.update(zip(_UNTOLD, untold, strict=True))
        told["operation"] = _OPERATIONS[told["operation"]]
        told["experiments"] = tuple(told["experiments"])
        caller = told["caller"]
        caller["tags"] = tuple(caller["tags"])
        told["caller"] = Caller(**caller)
        told["reservation"] = _reservation(*(reservation or told["reservation"]))
        return Assignment(**told)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        message = "A provider listener was reached without passing the edge listener."
        raise InternalError(message) from None


def _reservation(
    identity: str,
    held: list[tuple[str, str, int | None, int, str | None]],
    headers: list[list[str]],
    output: int | None,
    growths: list[tuple[str, str | None, int, int, int, float | None, float | None]],
) -> Reservation:
    return Reservation(
        id=identity,
        held=tuple(
            [Held(counter, _UNITS[unit], slot, amount, currency) for counter, unit, slot, amount, currency in held]
        ),
        headers=tuple([(name, value) for name, value in headers]),
        output=output,
        growths=tuple([Growth(*growth) for growth in growths]),
    )
