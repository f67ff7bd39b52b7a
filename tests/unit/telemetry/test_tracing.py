"""Spans, as a collector gets them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from extproc.admission.caller import Caller
from extproc.admission.settlement import NOTHING_HELD
from extproc.config.tracing import Tracing
from extproc.errors import ModelNotFound
from extproc.exchange.outcome import Outcome
from extproc.exchange.refusal import Refusal
from extproc.exchange.trace import Trace, continue_trace
from extproc.exchange.verdict import Reason, judge_reason
from extproc.metering.cost import Cost
from extproc.metering.measured import UsageSource
from extproc.openai.call import Operation
from extproc.openai.usage import Usage
from extproc.telemetry.tracing import Tracer
from tests.fakes.trace_collector import TraceCollector, attributes

EXCHANGE = "0123456789abcdef0123456789abcdef"
PARENT = "00f067aa0ba902b7"
TRACE = continue_trace(f"00-4bf92f3577b34da6a3ce929d0e0e4736-{PARENT}-01", exchange=EXCHANGE, ratio=0.0)
OUTCOME = Outcome(
    backend="primary",
    provider="openai",
    route="production",
    rule="long-prompts",
    experiments=("price=treatment",),
    decision="d-1",
    decision_reason="the only backend",
    caller=Caller(key="ci", tenant="acme"),
    operation=Operation.CHAT,
    stream=True,
    asked="gpt-4",
    model="gpt-4o",
    attempt=2,
    tries=1,
    verdict=None,
    final=True,
    status=200,
    usage=Usage(input=100, output=20, cached_input=40),
    usage_source=UsageSource.REPORTED,
    cost=Cost(amount=Decimal("0.00045"), currency="USD"),
    service_tier=None,
    served_model="gpt-4o-2024-08-06",
    first_event_ms=12.0,
    duration_ms=500.0,
    request_ms=2_000.0,
    reservation=NOTHING_HELD,
    exchange=EXCHANGE,
    ended=1_790_000_000.0,
    trace=TRACE,
)
FAILED = replace(
    OUTCOME,
    attempt=1,
    final=False,
    status=503,
    verdict=judge_reason(Reason.OVERLOADED),
    usage=None,
    served_model=None,
    ended=1_789_999_999.0,
)


@pytest.fixture
def collected() -> Any:
    """Runs what a test does with a tracer, and gives what arrived at its end."""

    def collect(*ended: Outcome | Refusal, **settings: Any) -> TraceCollector:
        with TraceCollector() as collector:
            tracer = Tracer(
                Tracing.model_validate({"otlpEndpoint": collector.url, **settings}), {"authorization": "Bearer secret"}
            )
            for one in ended:
                if isinstance(one, Refusal):
                    tracer.refused(one)
                else:
                    tracer.ended(one, "r-1")
            tracer.close()
        return collector

    return collect


def test_a_request_is_one_trace_below_its_client(collected: Any) -> None:
    """A span for the exchange, and below it one for each attempt, whichever worker wrote it."""
    collector = collected(FAILED, OUTCOME, serviceName="gateway")
    (exchange,) = collector.named("chat production")
    first, second = collector.named("chat gpt-4o")
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE.id}
    assert (exchange.parent_span_id.hex(), exchange.span_id.hex()) == (PARENT, TRACE.span)
    assert [span.parent_span_id.hex() for span in (first, second)] == [TRACE.span, TRACE.span]
    assert [span.span_id.hex() for span in (first, second)] == [TRACE.attempt_span(1), TRACE.attempt_span(2)]
    assert (exchange.kind, first.kind) == (2, 3)  # server, client
    assert exchange.end_time_unix_nano - exchange.start_time_unix_nano == 2_000_000_000
    assert second.end_time_unix_nano - second.start_time_unix_nano == 500_000_000
    assert collector.resources[0]["service.name"] == "gateway"
    assert collector.headers[0]["authorization"] == "Bearer secret"


def test_an_attempt_says_what_was_asked_and_what_came(collected: Any) -> None:
    """In the conventions' names, and ours for what they have none for."""
    found = attributes(collected(OUTCOME).named("chat gpt-4o")[0])
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "kortex.backend": "primary",
        "kortex.route": "production",
        "kortex.rule": "long-prompts",
        "kortex.decision": "d-1",
        "kortex.experiments": ["price=treatment"],
        "kortex.attempt": 2,
        "kortex.key": "ci",
        "kortex.tenant": "acme",
        "kortex.cost": "0.00045",
        "kortex.currency": "USD",
        "kortex.usage_source": "reported",
    }
    assert found.items() >= {name: value for name, value in expected.items() if name != "kortex.experiments"}.items()
    assert found["kortex.experiments"] == expected["kortex.experiments"]
    assert "error.type" not in found


def test_a_failed_attempt_says_why_and_the_exchange_is_none(collected: Any) -> None:
    """The failure belongs to the attempt that was replaced."""
    collector = collected(FAILED, OUTCOME)
    first = collector.named("chat gpt-4o")[0]
    assert attributes(first)["kortex.failover_reason"] == "overloaded"
    assert (first.status.code, first.status.message) == (2, "overloaded")
    assert collector.named("chat production")[0].status.code == 0


def test_a_refused_request_has_a_span_too(collected: Any) -> None:
    """Without attempts; a client's mistake is no error of the server's."""
    refusal = Refusal(
        error=ModelNotFound("no such model"),
        exchange=EXCHANGE,
        request_id="r-1",
        path="/v1/chat/completions",
        arrived=1.0,
        ended=1.5,
        caller=Caller(key="ci"),
        trace=TRACE,
    )
    (span,) = collected(refusal).spans
    assert (span.span_id.hex(), span.parent_span_id.hex(), span.status.code) == (TRACE.span, PARENT, 0)
    assert attributes(span)["error.type"] == "model_not_found"


@pytest.mark.parametrize(
    "trace",
    [pytest.param(None, id="off"), pytest.param(replace(TRACE, sampled=False), id="not-sampled")],
)
def test_nothing_is_sent_of_what_is_not_sampled(collected: Any, trace: Trace | None) -> None:
    """The client's choice, or the configuration's."""
    assert collected(replace(OUTCOME, trace=trace)).spans == []


def test_a_trace_of_our_own_has_no_parent(collected: Any) -> None:
    """It begins here."""
    own = continue_trace(None, exchange=EXCHANGE, ratio=1.0)
    (exchange,) = collected(replace(OUTCOME, trace=own)).named("chat production")
    assert (exchange.trace_id.hex(), exchange.parent_span_id) == (EXCHANGE, b"")


def test_a_collector_that_is_away_costs_spans_and_no_time() -> None:
    """Nothing waits for it, and closing gives up."""
    tracer = Tracer(Tracing.model_validate({"otlpEndpoint": "http://127.0.0.1:9"}), {})
    for _ in range(2_000):
        tracer.ended(OUTCOME, None)
    tracer.close()
