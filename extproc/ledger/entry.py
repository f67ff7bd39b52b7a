"""What is kept of an attempt or of a refused request: ids, names, counts and money, and nothing that anybody wrote.

The keys are the columns' names. Text that a client chose is bounded, and holds nothing that a database cannot.
"""

from __future__ import annotations

from typing import Any, Final

from extproc.exchange.attempt import Attempt
from extproc.exchange.outcome import Outcome, conclude
from extproc.exchange.refusal import Refusal
from extproc.exchange.trail import ANSWERED
from extproc.exchange.verdict import Reason, judge_reason
from extproc.openai.call import OPERATION_PATHS

ATTEMPT: Final = "attempt"
REFUSAL: Final = "refusal"
BEGUN: Final = "begun"
"""An attempt that follows another, as it is kept if its worker comes to no other word; see ``unfollowed``."""

_LONGEST_TEXT: Final = 256
_MOST_TOKENS: Final = 1 << 53


def attempt_entry(outcome: Outcome, request_id: str | None) -> dict[str, Any]:
    """An attempt that ended."""
    caller, usage, reason = outcome.caller, outcome.usage, outcome.reason
    return {
        "kind": ATTEMPT,
        "exchange": outcome.exchange,
        "attempt": outcome.attempt,
        "final": outcome.final,
        "ended_ms": int(outcome.ended * 1_000),
        "request_id": _text(request_id),
        "decision": outcome.decision,
        "decision_reason": outcome.decision_reason,
        "key": _text(caller.key),
        "tenant": _text(caller.tenant),
        "user": _text(outcome.end_user),
        "route": outcome.route,
        "rule": outcome.rule,
        "experiments": ",".join(outcome.experiments) or None,
        "operation": outcome.operation.value,
        "stream": outcome.stream,
        "requested_model": _text(outcome.asked),
        "model": _text(outcome.model),
        "served_model": _text(outcome.served_model),
        "backend": outcome.backend,
        "provider": outcome.provider,
        "status": outcome.status,
        "outcome": ANSWERED if reason is None else reason.value,
        "tries": outcome.tries,
        "input_tokens": None if usage is None else _count(usage.input),
        "cached_input_tokens": None if usage is None else _count(usage.cached_input),
        "cache_write_tokens": None if usage is None else _count(usage.cache_write),
        "cache_write_1h_tokens": None if usage is None else _count(usage.cache_write_1h),
        "output_tokens": None if usage is None else _count(usage.output),
        "reasoning_tokens": None if usage is None else _count(usage.reasoning),
        "audio_input_tokens": None if usage is None else _count(usage.audio_input),
        "audio_output_tokens": None if usage is None else _count(usage.audio_output),
        "usage_source": outcome.usage_source.value,
        "cost": None if outcome.cost is None else outcome.cost.digits,
        "currency": None if outcome.cost is None else outcome.cost.currency,
        "first_token_ms": _rounded(outcome.first_event_ms),
        "duration_ms": _rounded(outcome.duration_ms),
        "request_ms": _rounded(outcome.request_ms),
    }


def begun_entry(attempt: Attempt, request_id: str | None) -> dict[str, Any] | None:
    """An attempt that begins; None where it is the first, which follows nothing."""
    if attempt.number == 1:
        return None
    lost = judge_reason(Reason.GATEWAY)
    outcome = conclude(attempt, now=attempt.started, status=None, final=False, verdict=lost)
    unknown = dict.fromkeys(("usage_source", "duration_ms", "request_ms"))
    return attempt_entry(outcome, request_id) | unknown | {"kind": BEGUN}


def refusal_entry(refusal: Refusal) -> dict[str, Any] | None:
    """A request that reached no backend; None where nobody knows whose it was, so that strangers fill no disk."""
    caller = refusal.caller
    if caller is None:
        return None
    operation = OPERATION_PATHS.get(refusal.path)
    return {
        "kind": REFUSAL,
        "exchange": refusal.exchange,
        "ended_ms": int(refusal.ended * 1_000),
        "request_id": _text(refusal.request_id),
        "key": _text(caller.key),
        "tenant": _text(caller.tenant),
        "user": _text(caller.user),
        "operation": None if operation is None else operation.value,
        "status": refusal.error.status,
        "outcome": refusal.error.code or refusal.error.type,
        "request_ms": _rounded((refusal.ended - refusal.arrived) * 1_000),
    }


def _text(value: str | None) -> str | None:
    """PostgreSQL takes no null character, and no database takes half a surrogate pair."""
    if value is None:
        return None
    return value[:_LONGEST_TEXT].encode("utf-8", "replace").decode().replace("\0", "?")


def _count(tokens: int | None) -> int | None:
    """A provider's number that no prompt can have is unknown, rather than a sum that overflows."""
    return tokens if tokens is not None and 0 <= tokens < _MOST_TOKENS else None


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)
