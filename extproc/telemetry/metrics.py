"""Prometheus metrics of the data path.

Names: ``gen_ai_*`` follow OpenTelemetry's GenAI conventions (https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/),
ours are ``kortex_*``. Workers share one directory of memory-mapped values
(https://prometheus.github.io/client_python/multiprocess/), so that a host's scrape is the sum of its workers.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from extproc.exchange.attempt import Attempt
from extproc.exchange.outcome import Outcome
from extproc.exchange.refusal import Refusal
from extproc.exchange.trail import ANSWERED
from extproc.exchange.verdict import Reason
from extproc.metering.measured import UsageSource
from extproc.openai.call import Operation
from extproc.openai.usage import usage_counts
from extproc.routing.decision import Decision
from extproc.telemetry.experiment_metrics import ExperimentMetrics

# Seconds. The conventions' own boundaries: token latencies reach from milliseconds to minutes.
_DURATION_BUCKETS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 300)
_FIRST_TOKEN_BUCKETS: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    60.0,
)
_CALL: Final = ("route", "operation", "stream")
_PERHAPS_LEFT: Final = frozenset({Reason.CLIENT_GONE, Reason.INTERRUPTED})


class Metrics:
    """Counts what the streams tell. One object per process, on a registry of its own.

    Each metric is kept as the function from its labels' values to its child, with a cache: ``labels`` itself takes a
    lock and makes strings, which costs as much as the counting.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count_of_requests(registry)
        self._count_of_decisions(registry)
        self._count_of_attempts(registry)
        self._count_of_tokens(registry)
        self._count_of_records(registry)
        self._experiments = ExperimentMetrics(registry)

    def _count_of_requests(self, registry: CollectorRegistry) -> None:
        self._begun = cache(
            Counter(
                "kortex_begun_requests",
                "Requests whose first attempt began: each once, however it ended, as the ledger has them.",
                _CALL,
                registry=registry,
            ).labels
        )
        self._requests = cache(
            Counter(
                "kortex_requests",
                "Requests that ended with an attempt, by what the client was given; not those that ended between two.",
                (*_CALL, "status"),
                registry=registry,
            ).labels
        )
        self._refused = cache(
            Counter("kortex_refused_requests", "Requests refused on arrival.", ("code",), registry=registry).labels
        )
        self._request_duration = cache(
            Histogram(
                "kortex_request_duration_seconds",
                "From arrival to the end of the reply, all attempts together.",
                _CALL,
                buckets=_DURATION_BUCKETS,
                registry=registry,
            ).labels
        )

    def _count_of_decisions(self, registry: CollectorRegistry) -> None:
        self._decisions = cache(
            Counter(
                "kortex_decisions",
                "Decisions where requests go, by the rule that matched; empty for the default backend.",
                ("route", "rule"),
                registry=registry,
            ).labels
        )
        self._failed_rules = cache(
            Counter(
                "kortex_rule_errors",
                "Expressions under `when` that gave no answer, so that their rule did not match.",
                ("route", "rule"),
                registry=registry,
            ).labels
        )

    def _count_of_attempts(self, registry: CollectorRegistry) -> None:
        self._attempts = cache(
            Counter(
                "kortex_attempts",
                "Attempts at a backend, by how they ended.",
                ("backend", "outcome"),
                registry=registry,
            ).labels
        )
        self._failovers = cache(
            Counter(
                "kortex_failovers",
                "Attempts that left their request to the next backend, which is not asked where the client has gone.",
                ("route", "backend", "reason"),
                registry=registry,
            ).labels
        )
        self._misconfigured = cache(
            Counter(
                "kortex_misconfigured_backend",
                "Attempts that failed by what the operator has to mend: credential, model name or address.",
                ("backend", "reason"),
                registry=registry,
            ).labels
        )
        self._duration = cache(
            Histogram(
                "gen_ai_client_operation_duration_seconds",
                "Duration of an attempt.",
                ("gen_ai_operation_name", "gen_ai_provider_name", "backend", "error_type"),
                buckets=_DURATION_BUCKETS,
                registry=registry,
            ).labels
        )
        self._first_token = cache(
            Histogram(
                "gen_ai_server_time_to_first_token_seconds",
                "From sending a streamed call until the first event of its answer.",
                ("gen_ai_operation_name", "gen_ai_provider_name", "backend"),
                buckets=_FIRST_TOKEN_BUCKETS,
                registry=registry,
            ).labels
        )
        self._in_flight = cache(
            Gauge(
                "kortex_attempts_in_flight",
                "Attempts under way.",
                ("backend",),
                registry=registry,
                multiprocess_mode="livesum",
            ).labels
        )

    def _count_of_records(self, registry: CollectorRegistry) -> None:
        self._unrecorded = Counter(
            "kortex_ledger_dropped_records",
            "Records that the ledger's spool did not take: it is full, or cannot be written.",
            registry=registry,
        )

    def _count_of_tokens(self, registry: CollectorRegistry) -> None:
        self._tokens = cache(
            Counter(
                "kortex_tokens",
                "Tokens, reported or estimated; cached, written and heard ones are part of input, reasoning of output.",
                ("route", "backend", "type"),
                registry=registry,
            ).labels
        )
        self._cost = cache(
            Counter(
                "kortex_cost",
                "What attempts cost, those that failed after their provider was at work included.",
                ("route", "backend", "currency"),
                registry=registry,
            ).labels
        )
        self._unpriced = cache(
            Counter(
                "kortex_unpriced_answers",
                "Answers by a model whose price is not known; what they cost is in no sum.",
                ("route", "backend"),
                registry=registry,
            ).labels
        )
        self._estimated = cache(
            Counter(
                "kortex_estimated_usage",
                "Attempts whose tokens were estimated, because their provider did not come to tell.",
                ("route", "backend"),
                registry=registry,
            ).labels
        )
        self._unknown_usage = cache(
            Counter(
                "kortex_answers_without_usage",
                "Answers whose provider reported no usage.",
                ("route", "backend"),
                registry=registry,
            ).labels
        )

    def refused(self, refusal: Refusal) -> None:
        """A client error found on arrival."""
        error = refusal.error
        self._refused(error.code or error.type).inc()

    def decided(self, decision: Decision) -> None:
        """Where a request goes, and by which rule."""
        self._decisions(decision.route, decision.rule or "").inc()
        for rule in decision.failed_rules:
            self._failed_rules(decision.route, rule).inc()
        self._experiments.decided(decision)

    def unrecorded(self) -> None:
        """A record that is lost."""
        self._unrecorded.inc()

    def begun(self, attempt: Attempt) -> None:
        """One more under way. The first begins the request, whose end may be known to another worker, or to none."""
        self._in_flight(attempt.target.backend).inc()
        if attempt.number == 1:
            assignment = attempt.assignment
            self._begun(*_call(assignment.route, assignment.operation, stream=assignment.stream)).inc()

    def ended(self, outcome: Outcome, request_id: str | None) -> None:  # noqa: ARG002 - ids are no label
        """Count an attempt and, with its last attempt, the request."""
        reason = outcome.reason
        self._in_flight(outcome.backend).dec()
        self._attempts(outcome.backend, ANSWERED if reason is None else reason.value).inc()
        self._duration(
            outcome.operation.value, outcome.provider, outcome.backend, "" if reason is None else reason.value
        ).observe(outcome.duration_ms / 1_000)
        if outcome.stream and outcome.first_event_ms is not None:
            self._first_token(outcome.operation.value, outcome.provider, outcome.backend).observe(
                outcome.first_event_ms / 1_000
            )
        if outcome.verdict is not None and outcome.verdict.misconfigured:
            self._misconfigured(outcome.backend, outcome.verdict.reason.value).inc()
        if outcome.final:
            self._count_request(outcome)
        elif reason is not None:
            self._failovers(outcome.route, outcome.backend, reason.value).inc()
        self._count_tokens(outcome)
        self._experiments.ended(outcome)

    def _count_request(self, outcome: Outcome) -> None:
        call = _call(outcome.route, outcome.operation, stream=outcome.stream)
        self._requests(*call, _status(outcome)).inc()
        self._request_duration(*call).observe(outcome.request_ms / 1_000)

    def _count_tokens(self, outcome: Outcome) -> None:
        usage, place = outcome.usage, (outcome.route, outcome.backend)
        if usage is None:
            return
        if outcome.usage_source is UsageSource.ESTIMATED:
            self._estimated(*place).inc()
            if outcome.reason is None:
                self._unknown_usage(*place).inc()
        for kind, count in usage_counts(usage).items():
            if count:
                self._tokens(*place, kind).inc(count)
        if outcome.cost is not None:
            # The currency is the config's or the list's. A scrape's numbers are doubles; log and headers are exact.
            self._cost(*place, outcome.cost.currency).inc(float(outcome.cost.amount))
        elif outcome.reason is None:
            self._unpriced(*place).inc()


def _call(route: str, operation: Operation, *, stream: bool) -> tuple[str, str, str]:
    return route, operation.value, "true" if stream else "false"


def _status(outcome: Outcome) -> str:
    """What the client was given; the reason where it was perhaps not there any more. Time runs out in Envoy alone."""
    reason = outcome.reason
    if outcome.status is None and reason is not None and reason in _PERHAPS_LEFT:
        return reason.value
    return str(outcome.status or 504)
