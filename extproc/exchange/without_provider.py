"""Replies that an attempt makes itself: the embedded provider's answer, and refusals before a provider was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from extproc.config.backends import Backend
from extproc.errors import ClientError, KortexError, UnsupportedFeature, UpstreamError
from extproc.exchange.arrival import Answer
from extproc.exchange.attempt import Attempt
from extproc.exchange.bill import beside_usage, bill_reply
from extproc.exchange.failure import broken, final_error
from extproc.exchange.outcome import Outcome, conclude
from extproc.exchange.own_headers import own_headers
from extproc.exchange.trail import write_outcome
from extproc.exchange.verdict import Reason, Verdict, judge_reason
from extproc.framing.sse import SseFramer
from extproc.headers import FAILOVER, OUTCOME
from extproc.openai.error_body import AttemptSummary, error_body

_JSON = ("content-type", "application/json")
_EVENT_STREAM = ("content-type", "text/event-stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class WithoutProvider:
    """The reply, the ``code`` of its error (None for an answer), and what is to be recorded."""

    answer: Answer
    code: str | None
    outcome: Outcome


def answer_embedded(attempt: Attempt, body: bytes, *, now: float) -> WithoutProvider | None:
    """The embedded provider's answer; None when the target is a real one. Raises ClientError."""
    reply = attempt.answer(body)
    if reply is None:
        return None
    stream = attempt.assignment.stream
    content_type = _EVENT_STREAM if stream else _JSON
    bill = bill_reply(attempt, reply)
    if stream and attempt.assignment.include_usage:
        reply = replace(reply, body=_with_cost(attempt, reply.body))
    told = () if stream else bill.headers
    return WithoutProvider(
        answer=Answer(status=200, body=reply.body, headers=(content_type, *told, *own_headers(attempt))),
        code=None,
        outcome=conclude(
            attempt, now=now, status=200, final=True, bill=bill, served_model=reply.model, first_event_at=now
        ),
    )


def _with_cost(attempt: Attempt, events: bytes) -> bytes:
    """A whole stream as the client would have it from a provider that speaks OpenAI's format: with what it costs."""
    stream = attempt.translator.stream(attempt.assignment.call(b"{}"))
    stream.state.beside_usage = beside_usage(attempt, stream.state)
    return b"".join(map(stream.event, SseFramer(limit=len(events)).feed(events)))


def refuse_too_small(attempt: Attempt, backends: Mapping[str, Backend], *, now: float) -> WithoutProvider | None:
    """Pass by a backend whose model is known to be smaller than one that the prompt was already too long for."""
    if not attempt.too_small(backends):
        return None
    message = "The prompt is longer than the context window of every backend that could be asked."
    error = UpstreamError(message, status=400, type="invalid_request_error", code="context_length_exceeded")
    return _refuse(attempt, error, judge_reason(Reason.CONTEXT_LENGTH), now=now)


def refuse(attempt: Attempt, error: KortexError | None, *, now: float) -> WithoutProvider:
    """The request could not be written for this backend. None stands for a bug, whose traceback is in the log."""
    if isinstance(error, UnsupportedFeature):
        return _refuse(attempt, error, judge_reason(Reason.UNSUPPORTED), now=now)
    if isinstance(error, ClientError):
        return _refuse(attempt, error, judge_reason(Reason.REFUSED), now=now)
    return _refuse(attempt, error or broken(), judge_reason(Reason.GATEWAY), now=now)


def _refuse(attempt: Attempt, error: KortexError, verdict: Verdict, *, now: float) -> WithoutProvider:
    moves_on = verdict.failover and not attempt.last
    summary = AttemptSummary(
        backend=attempt.target.backend,
        outcome=verdict.reason.value,
        status=None,
        milliseconds=round((now - attempt.started) * 1_000),
    )
    attempts = (*attempt.before, summary)
    shown = error if moves_on or not isinstance(error, UpstreamError) else final_error(error, attempts)
    marks = ((FAILOVER, verdict.reason.value),) if moves_on else ()
    headers = (_JSON, (OUTCOME, write_outcome(summary)), *marks, *own_headers(attempt))
    return WithoutProvider(
        answer=Answer(status=shown.status, body=error_body(shown, attempts), headers=headers),
        code=shown.code,
        outcome=conclude(attempt, now=now, status=shown.status, verdict=verdict, final=not moves_on),
    )
