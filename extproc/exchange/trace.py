"""Where one request stands in its client's distributed trace: ids that every stage computes alike, sharing nothing.

https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

# A later version may have more behind the flags, and is to be read as this one.
_FORM: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.ASCII
)
_SAMPLED: Final = 1
_HALF_OF_ID: Final = 1 << 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """All ids are hexadecimal digits. ``parent`` is the client's span, None where the client sent none."""

    id: str
    parent: str | None
    exchange: str
    sampled: bool

    @property
    def span(self) -> str:
        """Of the exchange: from the request's arrival to the end of its reply."""
        return _digest(self.exchange)

    def attempt_span(self, number: int) -> str:
        """Of one attempt, a child of the exchange's."""
        return _digest(f"{self.exchange}/{number}")

    def traceparent(self, number: int) -> str:
        """What the provider is told: its parent is the attempt."""
        return f"00-{self.id}-{self.attempt_span(number)}-{int(self.sampled):02x}"


def continue_trace(traceparent: str | None, *, exchange: str, ratio: float) -> Trace:
    """The client's trace, sampled as the client has it; without one a trace of our own, sampled by ``ratio``.

    The choice follows from the trace's id, so that every stage and every worker makes the same.
    """
    found = _FORM.fullmatch(traceparent or "")
    if found is None or (found[1] == "00" and len(traceparent or "") > 55):
        sampled = int(exchange[16:], 16) < ratio * _HALF_OF_ID
        return Trace(id=exchange, parent=None, exchange=exchange, sampled=sampled)
    return Trace(id=found[2], parent=found[3], exchange=exchange, sampled=bool(int(found[4], 16) & _SAMPLED))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
