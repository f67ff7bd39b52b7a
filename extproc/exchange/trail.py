"""The trail: what became of the attempts before this one, carried in a header from one to the next.

The attempt stage writes its own end into ``x-kortex-outcome`` on every reply; a filter in Envoy (rendered by
``extproc.bootstrap.trail_filter``) strings those together in ``x-kortex-trail`` for the next attempt. An attempt that
gave no reply at all is written by the filter itself, as a timeout or a reset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from extproc.openai.error_body import AttemptSummary

CLOCKS_DIFFER_MS: Final = 50
"""The edge times an attempt by a clock of its own, which it starts a little sooner than the attempt hears of itself."""
ANSWERED: Final = "answered"
_ENTRY: Final = re.compile(r"([A-Za-z0-9._-]+)=([a-z_]+);(\d*);(\d+)")


def write_outcome(attempt: AttemptSummary) -> str:
    """``backend=outcome;status;milliseconds``."""
    status = "" if attempt.status is None else attempt.status
    return f"{attempt.backend}={attempt.outcome};{status};{attempt.milliseconds or 0}"


def write_trail(attempts: Iterable[AttemptSummary]) -> str:
    """The attempts as the client sees them in a reply's ``x-kortex-trail``."""
    return ", ".join(write_outcome(attempt) for attempt in attempts)


def read_trail(header: str | None) -> tuple[AttemptSummary, ...]:
    """The attempts so far, in order."""
    return tuple(
        AttemptSummary(
            backend=backend,
            outcome=outcome,
            status=int(status) if status else None,
            milliseconds=int(milliseconds),
        )
        for backend, outcome, status, milliseconds in _ENTRY.findall(header or "")
    )
