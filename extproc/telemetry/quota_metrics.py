"""Prometheus metrics of limits and budgets."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge


class QuotaMetrics:
    """Counts what the gate tells. One object per process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._limited = cache(
            Counter(
                "kortex_limited_requests",
                "Requests for which a limit or budget had no room; mode shadow: let through all the same.",
                ("policy", "kind", "mode"),
                registry=registry,
            ).labels
        )
        self._passed = cache(
            Counter(
                "kortex_budget_thresholds",
                "Times that a budget reached a part of itself, in per cent.",
                ("budget", "percent"),
                registry=registry,
            ).labels
        )
        self._uncounted = cache(
            Counter(
                "kortex_uncounted_requests",
                "Requests that could not be counted: let through (open) or refused (closed).",
                ("decision",),
                registry=registry,
            ).labels
        )
        self._unsettled = Counter(
            "kortex_unsettled_requests",
            "Requests whose use was never booked: the store was away for too long.",
            registry=registry,
        )
        self._store_up = Gauge(
            "kortex_quota_store_up",
            "1 while the store of limits and budgets answers every worker.",
            registry=registry,
            multiprocess_mode="livemin",
        )

    def limited(self, policy: str, kind: str, mode: str) -> None:
        """See ``extproc.quota.gate.Observer``."""
        self._limited(policy, kind, mode).inc()

    def passed(self, budget: str, percent: int) -> None:
        """See ``extproc.quota.gate.Observer``."""
        self._passed(budget, str(percent)).inc()

    def uncounted(self, decision: str) -> None:
        """See ``extproc.quota.gate.Observer``."""
        self._uncounted(decision).inc()

    def unsettled(self, count: int) -> None:
        """See ``extproc.quota.gate.Observer``."""
        self._unsettled.inc(count)

    def store_up(self, *, up: bool) -> None:
        """See ``extproc.quota.gate.Observer``."""
        self._store_up.set(int(up))
