"""Prometheus metrics of experiments: who was drawn into what, who really was part of it, and what came of it."""

from __future__ import annotations

from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from extproc.exchange.outcome import Outcome
from extproc.exchange.trail import ANSWERED
from extproc.routing.decision import Decision
from extproc.routing.experiment import read_tag

_VARIANT: Final = ("experiment", "variant")
_BUCKETS: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4)
FAILED_OVER: Final = "failed_over"


class ExperimentMetrics:
    """An outcome is credited to a variant only where its own backend gave the answer."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._assignments = cache(
            Counter(
                "kortex_experiment_assignments", "Requests drawn into an experiment.", _VARIANT, registry=registry
            ).labels
        )
        self._exposures = cache(
            Counter(
                "kortex_experiment_exposures",
                "Requests whose variant's backend was to be asked first.",
                _VARIANT,
                registry=registry,
            ).labels
        )
        self._outcomes = cache(
            Counter(
                "kortex_experiment_outcomes",
                "How they ended: answered by the variant's backend, failed_over to another, or why not.",
                (*_VARIANT, "outcome"),
                registry=registry,
            ).labels
        )
        self._duration = cache(
            Histogram(
                "kortex_experiment_request_duration_seconds",
                "Duration of requests that the variant's backend answered.",
                _VARIANT,
                buckets=_BUCKETS,
                registry=registry,
            ).labels
        )
        self._tokens = cache(
            Counter(
                "kortex_experiment_tokens",
                "Tokens of requests that the variant's backend answered.",
                (*_VARIANT, "type"),
                registry=registry,
            ).labels
        )
        self._cost = cache(
            Counter(
                "kortex_experiment_cost",
                "What the variant's backend cost for the requests that it answered.",
                (*_VARIANT, "currency"),
                registry=registry,
            ).labels
        )

    def decided(self, decision: Decision) -> None:
        """Where a request goes."""
        exposed = decision.experiments
        for drawn in decision.assigned:
            self._assignments(drawn.experiment, drawn.variant).inc()
            if drawn.tag in exposed:
                self._exposures(drawn.experiment, drawn.variant).inc()

    def ended(self, outcome: Outcome) -> None:
        """An attempt is over; the last one of a request counts."""
        if not outcome.final:
            return
        for tag in outcome.experiments:
            self._count(*read_tag(tag), outcome)

    def _count(self, experiment: str, variant: str, outcome: Outcome) -> None:
        if outcome.reason is not None:
            self._outcomes(experiment, variant, outcome.reason.value).inc()
            return
        if outcome.attempt > 1:
            self._outcomes(experiment, variant, FAILED_OVER).inc()
            return
        self._outcomes(experiment, variant, ANSWERED).inc()
        self._duration(experiment, variant).observe(outcome.request_ms / 1_000)
        if outcome.usage is not None:
            self._tokens(experiment, variant, "input").inc(outcome.usage.input)
            self._tokens(experiment, variant, "output").inc(outcome.usage.output)
        if outcome.cost is not None:
            self._cost(experiment, variant, outcome.cost.currency).inc(float(outcome.cost.amount))
