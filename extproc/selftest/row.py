"""A line of the result: one call on one route under one fault, what its client saw, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from extproc.selftest.asking import CHAT
from extproc.selftest.client import Seen
from extproc.selftest.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """``on`` is the backend that had the fault; None where it was everybody or nobody."""

    route: str
    model: str
    operation: str = CHAT
    rule: str | None = None
    """Which decided; None is the route's default backend."""
    fault: str
    on: str | None
    stream: bool
    seen: Seen
    asked: tuple[str, ...]
    """The backend of each request that arrived, in order: more than once where it was tried again."""
    verdict: Verdict

    def described(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "route": self.route,
            "model": self.model,
            "operation": self.operation,
            "rule": self.rule,
            "fault": self.fault,
            "on": self.on,
            "stream": self.stream,
            "ending": self.seen.ending.value,
            "status": self.seen.status,
            "backend": self.seen.backend,
            "attempts": self.seen.attempts,
            "trail": list(self.seen.trail),
            "asked": list(self.asked),
            "code": self.seen.code,
            "milliseconds": round(self.seen.seconds * 1_000),
            "verdict": "surprise" if self.verdict.surprise else "ok",
            "note": self.verdict.note,
        }
