"""What became of one attempt: the value from which headers, metrics and logs are written."""

from __future__ import annotations

from dataclasses import dataclass

from extproc.admission.caller import Caller
from extproc.admission.settlement import Reservation
from extproc.exchange.attempt import Attempt
from extproc.exchange.bill import NO_BILL, Bill
from extproc.exchange.trace import Trace
from extproc.exchange.verdict import Reason, Verdict
from extproc.metering.cost import Cost
from extproc.metering.measured import UsageSource
from extproc.openai.call import Operation
from extproc.openai.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``verdict`` is None when the provider answered. Times are milliseconds from the attempt's start.

    ``final``: whether the client was given this attempt's reply, so that no other attempt follows.
    ``tries``: requests that reached for this provider, counting its own retries; None when no reply told.
    ``usage`` and ``cost`` are this attempt's alone: one that failed after its provider was at work has its own.
    ``cost`` is None where the model has no price.
    """

    backend: str
    provider: str
    route: str
    rule: str | None
    experiments: tuple[str, ...]
    decision: str | None
    decision_reason: str | None
    caller: Caller
    reservation: Reservation
    operation: Operation
    stream: bool
    asked: str
    model: str
    attempt: int
    tries: int | None
    verdict: Verdict | None
    final: bool
    status: int | None
    usage: Usage | None
    usage_source: UsageSource
    cost: Cost | None
    service_tier: str | None
    served_model: str | None
    first_event_ms: float | None
    duration_ms: float
    request_ms: float
    """From the request's arrival at the edge to the end of this attempt."""
    exchange: str
    """The request's own id, the same for all its attempts."""
    ended: float
    """Unix seconds."""
    trace: Trace | None
    end_user: str | None = None
    """Whom the call was for."""
    retry_after: str | None = None
    """What the provider said in its header of that name when it failed."""
    probe: bool = False
    """Whether it was let through to try whether its backend is back."""
    abandoned: bool = False
    """Whether it ended without a word: its provider broke off, or its client left, so that no other attempt follows."""

    @property
    def reason(self) -> Reason | None:
        """Why it did not answer; None when it did."""
        return None if self.verdict is None else self.verdict.reason


def conclude(  # noqa: PLR0913 - what is known at the end, all by keyword
    attempt: Attempt,
    *,
    now: float,
    status: int | None,
    final: bool,
    verdict: Verdict | None = None,
    tries: int | None = None,
    bill: Bill = NO_BILL,
    served_model: str | None = None,
    first_event_at: float | None = None,
    retry_after: str | None = None,
    abandoned: bool = False,
) -> Outcome:
    """The outcome of an attempt that ends at ``now``, on the clock it was started by (seconds)."""
    assignment = attempt.assignment
    return Outcome(
        backend=attempt.target.backend,
        provider=attempt.target.provider.name,
        route=assignment.route,
        rule=assignment.rule,
        experiments=assignment.experiments,
        decision=assignment.decision,
        decision_reason=assignment.reason,
        caller=assignment.caller,
        reservation=assignment.reservation,
        end_user=assignment.end_user,
        operation=assignment.operation,
        stream=assignment.stream,
        asked=assignment.asked,
        model=attempt.model,
        attempt=attempt.number,
        tries=tries,
        verdict=verdict,
        final=final,
        status=status,
        usage=bill.measured.usage,
        usage_source=bill.measured.source,
        cost=bill.cost,
        service_tier=bill.service_tier,
        served_model=served_model,
        first_event_ms=None if first_event_at is None else (first_event_at - attempt.started) * 1_000,
        duration_ms=(now - attempt.started) * 1_000,
        request_ms=now * 1_000 - assignment.arrived_ms,
        exchange=assignment.exchange,
        ended=now,
        trace=attempt.trace,
        retry_after=retry_after,
        probe=assignment.probe and attempt.number == 1,
        abandoned=abandoned,
    )
