"""Traces: one span per exchange, one per attempt, in OpenTelemetry's GenAI conventions, sent in the background by OTLP.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/

A span is written when its part is over, from the outcome, with the times that stand there. Ids follow from the
exchange's own (``extproc.exchange.trace``), so the worker that saw the last attempt writes the exchange's span, too.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util.types import AttributeValue

import extproc
from extproc.config.tracing import Tracing
from extproc.exchange.outcome import Outcome
from extproc.exchange.refusal import Refusal
from extproc.exchange.trace import Trace
from extproc.openai.call import OPERATION_PATHS

_WAITING_SPANS: Final = 8_192
_SEND_SECONDS: Final = 10
_FAREWELL_SECONDS: Final = 3.0
_FIRST_SERVER_ERROR: Final = 500
_NANOSECONDS: Final = 1_000_000_000

Attributes = dict[str, AttributeValue]


class Tracer:
    """``headers`` are what the collector asks for. Nothing here waits: a full queue drops spans, and says so."""

    def __init__(self, settings: Tracing, headers: Mapping[str, str]) -> None:
        exporter = OTLPSpanExporter(
            endpoint=f"{settings.otlp_endpoint}/v1/traces", headers=dict(headers), timeout=_SEND_SECONDS
        )
        self._ids = _GivenIds()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # what is not to be sampled does not come this far
            resource=Resource.create({"service.name": settings.service_name, "service.version": extproc.__version__}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=_WAITING_SPANS))
        self._tracer = self._provider.get_tracer("kortex", extproc.__version__)

    def ended(self, outcome: Outcome, request_id: str | None) -> None:
        """An attempt, and with its last attempt the exchange."""
        trace = outcome.trace
        if trace is None or not trace.sampled:
            return
        attributes = _described(outcome, request_id)
        end = outcome.ended
        self._emit(
            trace,
            span=trace.attempt_span(outcome.attempt),
            parent=trace.span,
            name=f"{outcome.operation.value} {outcome.model}",
            kind=SpanKind.CLIENT,
            attributes=attributes | _of_attempt(outcome),
            began=end - outcome.duration_ms / 1_000,
            ended=end,
            error=None if outcome.reason is None else outcome.reason.value,
        )
        if outcome.final:
            status = outcome.status or 0
            failed = outcome.reason is not None and (status >= _FIRST_SERVER_ERROR or status == 0)
            self._emit(
                trace,
                span=trace.span,
                parent=trace.parent,
                name=f"{outcome.operation.value} {outcome.route}",
                kind=SpanKind.SERVER,
                attributes=attributes | {"kortex.attempts": outcome.attempt},
                began=end - outcome.request_ms / 1_000,
                ended=end,
                error=outcome.reason.value if failed and outcome.reason is not None else None,
            )

    def refused(self, refusal: Refusal) -> None:
        """A request without an attempt."""
        trace, error = refusal.trace, refusal.error
        if trace is None or not trace.sampled:
            return
        operation = OPERATION_PATHS.get(refusal.path)
        name = "refused" if operation is None else operation.value
        known = {
            "gen_ai.operation.name": None if operation is None else operation.value,
            "error.type": error.code or error.type,
            "http.response.status_code": error.status,
            "kortex.request_id": refusal.request_id,
            "kortex.key": None if refusal.caller is None else refusal.caller.key,
            "kortex.tenant": None if refusal.caller is None else refusal.caller.tenant,
        }
        self._emit(
            trace,
            span=trace.span,
            parent=trace.parent,
            name=name,
            kind=SpanKind.SERVER,
            attributes=_present(known),
            began=refusal.arrived,
            ended=refusal.ended,
            error=None,  # the client's, which a server's span leaves unset
        )

    def close(self) -> None:
        """Send what waits, within a few seconds. OpenTelemetry's own end would wait half a minute for a collector."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(_FAREWELL_SECONDS)

    def _emit(  # noqa: PLR0913 - a span's parts, all by keyword
        self,
        trace: Trace,
        *,
        span: str,
        parent: str | None,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        began: float,
        ended: float,
        error: str | None,
    ) -> None:
        self._ids.trace, self._ids.span = int(trace.id, 16), int(span, 16)
        started = self._tracer.start_span(
            name,
            context=_inside(trace, parent),
            kind=kind,
            attributes=attributes,
            start_time=int(began * _NANOSECONDS),
        )
        if error is not None:
            started.set_status(Status(StatusCode.ERROR, error))
        started.end(int(ended * _NANOSECONDS))


class _GivenIds(IdGenerator):
    """The ids of the span that is written next."""

    trace = 0
    span = 0

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span


def _inside(trace: Trace, parent: str | None) -> Context:
    """The context in which a span has this parent; None is no parent, not whatever is current."""
    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED)
    span = SpanContext(int(trace.id, 16), int(parent, 16), is_remote=parent == trace.parent, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(span), Context())


def _described(outcome: Outcome, request_id: str | None) -> Attributes:
    """What the exchange's span and the attempt's have in common."""
    usage, caller = outcome.usage, outcome.caller
    return _present(
        {
            "gen_ai.operation.name": outcome.operation.value,
            "gen_ai.provider.name": outcome.provider,
            "gen_ai.response.model": outcome.served_model,
            "gen_ai.usage.input_tokens": None if usage is None else usage.input,
            "gen_ai.usage.output_tokens": None if usage is None else usage.output,
            "gen_ai.usage.cache_read.input_tokens": None if usage is None else usage.cached_input,
            "gen_ai.usage.cache_creation.input_tokens": None if usage is None else usage.cache_write,
            "error.type": None if outcome.reason is None else outcome.reason.value,
            "http.response.status_code": outcome.status,
            "kortex.usage_source": outcome.usage_source.value,
            "kortex.cost": None if outcome.cost is None else outcome.cost.digits,
            "kortex.currency": None if outcome.cost is None else outcome.cost.currency,
            "kortex.request_id": request_id,
            "kortex.route": outcome.route,
            "kortex.rule": outcome.rule,
            "kortex.decision": outcome.decision,
            "kortex.decision.reason": outcome.decision_reason,
            "kortex.experiments": outcome.experiments or None,
            "kortex.backend": outcome.backend,
            "kortex.requested_model": outcome.asked,
            "gen_ai.request.model": outcome.model,
            "kortex.stream": outcome.stream,
            "kortex.key": caller.key,
            "kortex.tenant": caller.tenant,
        }
    )


def _of_attempt(outcome: Outcome) -> Attributes:
    known: dict[str, AttributeValue | None] = {
        "kortex.attempt": outcome.attempt,
        "kortex.final": outcome.final,
        "kortex.time_to_first_event_ms": outcome.first_event_ms,
    }
    if outcome.reason is not None and not outcome.final:
        known["kortex.failover_reason"] = outcome.reason.value
    return _present(known)


def _present(attributes: Mapping[str, AttributeValue | None]) -> Attributes:
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in attributes.items()
        if value is not None
    }
