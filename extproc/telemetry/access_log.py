"""The access log: one JSON line per attempt, on standard output. No bodies, no credentials, no addresses of clients."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from extproc.exchange.outcome import Outcome
from extproc.openai.usage import usage_counts

_LOG: Final = logging.getLogger(__name__)


def describe(outcome: Outcome, request_id: str | None) -> dict[str, Any]:
    """The line's fields; ``outcome`` is ``answered`` or the reason; ``request_ms`` counts from the arrival."""
    usage = outcome.usage
    fields = {
        "request_id": None if request_id is None else _readable(request_id),
        "exchange": outcome.exchange or None,
        "trace_id": None if outcome.trace is None else outcome.trace.id,
        "key": outcome.caller.key,
        "tenant": outcome.caller.tenant,
        "route": outcome.route,
        "rule": outcome.rule,
        "experiments": outcome.experiments or None,
        "decision": outcome.decision,
        "decision_reason": outcome.decision_reason,
        "operation": outcome.operation.value,
        "stream": outcome.stream,
        "requested_model": outcome.asked,
        "backend": outcome.backend,
        "provider": outcome.provider,
        "model": outcome.model,
        "served_model": outcome.served_model,
        "attempt": outcome.attempt,
        "tries": outcome.tries,
        "final": outcome.final,
        "outcome": "answered" if outcome.reason is None else outcome.reason.value,
        "status": outcome.status,
        "first_event_ms": _rounded(outcome.first_event_ms),
        "duration_ms": _rounded(outcome.duration_ms),
        "request_ms": _rounded(outcome.request_ms),
        **({} if usage is None else {f"{kind}_tokens": count for kind, count in usage_counts(usage).items()}),
        "usage_source": outcome.usage_source.value,
        "cost": None if outcome.cost is None else outcome.cost.digits,
        "currency": None if outcome.cost is None else outcome.cost.currency,
    }
    return {name: value for name, value in fields.items() if value is not None}


class AccessLog:
    """Writes a line per attempt; ``write`` gets whole lines."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def ended(self, outcome: Outcome, request_id: str | None) -> None:
        """Log an attempt; what the operator has to mend is a warning of its own as well."""
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._write(orjson.dumps({"time": stamp, **describe(outcome, request_id)}, option=orjson.OPT_APPEND_NEWLINE))
        if outcome.verdict is not None and outcome.verdict.misconfigured:
            _LOG.warning(
                "backend %s is misconfigured: the provider answered %s for the model %s",
                outcome.backend,
                outcome.verdict.reason.value,
                outcome.model,
            )


def _readable(request_id: str) -> str:
    """The client chose it, and a header need not be UTF-8."""
    return request_id.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
