"""What an attempt's outcome says of its backend: that it works, that it is down, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from extproc.exchange.attempt import Attempt
from extproc.exchange.outcome import Outcome
from extproc.exchange.verdict import Reason
from extproc.routing.board import Observation, Result

_FAILURES: Final = frozenset(
    {
        Reason.CONNECT_FAILURE,
        Reason.RESET,
        Reason.TIMEOUT,
        Reason.SERVER_ERROR,
        Reason.OVERLOADED,
        Reason.RATE_LIMITED,
        Reason.GARBLED,
        Reason.UNAUTHORIZED,
        Reason.TRUNCATED,
        Reason.IDLE,
    }
)
"""What the next request would meet too. A 404 is not among them: where clients choose the model's name, one of them
could spare a backend for all. Nor is a broken reply of which nobody knows who broke it off.
"""
_SHORTEST_STREAM_MS: Final = 50.0
"""Below this the rate of tokens is a matter of buffers."""


def observe(outcome: Outcome, *, now: float) -> Observation:
    """``now`` is Unix seconds, for a Retry-After that is a date."""
    if outcome.reason is None:
        return Observation(
            backend=outcome.backend,
            result=Result.SUCCESS,
            probe=outcome.probe,
            first_token_ms=outcome.first_event_ms if outcome.stream else None,
            tokens_per_second=_rate(outcome),
        )
    if outcome.reason not in _FAILURES or outcome.abandoned:
        return Observation(backend=outcome.backend, result=Result.NEUTRAL, probe=outcome.probe)
    return Observation(
        backend=outcome.backend,
        result=Result.FAILURE,
        probe=outcome.probe,
        reason=outcome.reason.value,
        retry_after=retry_after_seconds(outcome.retry_after, now=now),
    )


def observe_broken_off(attempt: Attempt) -> Observation | None:
    """What an attempt that follows says of the one before, which ended without a word: nobody left, it broke off."""
    if attempt.broken_off is None:
        return None
    return Observation(backend=attempt.broken_off, result=Result.FAILURE, reason=Reason.RESET.value)


def _rate(outcome: Outcome) -> float | None:
    if outcome.usage is None or not outcome.stream or outcome.first_event_ms is None:
        return None
    writing_ms = outcome.duration_ms - outcome.first_event_ms
    return None if writing_ms < _SHORTEST_STREAM_MS else outcome.usage.output * 1_000 / writing_ms


def retry_after_seconds(value: str | None, *, now: float) -> float | None:
    """A Retry-After header: seconds, or a date (RFC 9110, 10.2.3). None for anything else."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        zoned = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
        seconds = (zoned - datetime.fromtimestamp(now, UTC)).total_seconds()
    return seconds if 0 < seconds < float("inf") else None
