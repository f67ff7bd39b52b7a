"""Requests and their attempts, as counters have them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import CollectorRegistry

from extproc.exchange.attempt import Attempt
from extproc.exchange.verdict import Reason, judge_reason
from extproc.openai.call import Operation
from extproc.telemetry.metrics import Metrics
from tests.unit.telemetry.test_tracing import OUTCOME

CALL = {"route": "production", "operation": "chat", "stream": "true"}


def attempt(number: int) -> Attempt:
    """One try of a request."""
    assignment = SimpleNamespace(route="production", operation=Operation.CHAT, stream=True)
    target = SimpleNamespace(backend="primary")
    return cast("Attempt", cast("Any", SimpleNamespace(number=number, assignment=assignment, target=target)))


def test_a_request_is_counted_once_whatever_ends_it() -> None:
    """Its attempts may be different workers', and nobody may have its last word."""
    registries = CollectorRegistry(), CollectorRegistry()
    first, second = map(Metrics, registries)
    left = replace(OUTCOME, attempt=1, final=False, status=None, verdict=judge_reason(Reason.RESET), abandoned=True)
    first.begun(attempt(1))
    first.ended(left, None)
    second.begun(attempt(2))
    second.ended(OUTCOME, None)
    first.begun(attempt(1))
    first.ended(left, None)
    begun = [one.get_sample_value("kortex_begun_requests_total", CALL) for one in registries]
    ended = [one.get_sample_value("kortex_requests_total", CALL | {"status": "200"}) for one in registries]
    assert (begun, ended) == ([2, None], [None, 1])
