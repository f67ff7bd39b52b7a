"""Traces through the real Envoy: the client's trace goes on, with a span for each attempt, to the provider."""

from __future__ import annotations

from typing import Any

import httpx

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import FakeProvider, Status
from tests.fakes.trace_collector import TraceCollector, attributes

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CHAT = {"model": "pair", "messages": [{"role": "user", "content": "words that nobody keeps"}]}


def config(a: FakeProvider, b: FakeProvider, collector: TraceCollector) -> dict[str, Any]:
    """A route with a fallback, and a collector that asks for a token."""
    return {
        "gateway": {
            "tracing": {"otlpEndpoint": collector.url, "headers": {"authorization": {"env": "COLLECTOR_TOKEN"}}}
        },
        "backends": {
            "a": {"provider": "custom", "url": a.url, "model": "inner"},
            "b": {"provider": "custom", "url": b.url, "model": "inner"},
        },
        "routes": {
            "pair": {
                "models": ["pair"],
                "defaultBackend": {"name": "a"},
                "fallback": {"backends": ["b"]},
                "retries": {"perBackend": 0},
            }
        },
    }


def test_a_failover_is_one_trace_from_the_client_to_both_providers() -> None:
    """Attempts served by any worker meet below one span; each provider is told its own attempt's."""
    with TraceCollector() as collector, FakeProvider(name="a") as a, FakeProvider(name="b") as b:
        a.script = [Status(503)]
        with KortexProcess(
            config(a, b, collector), env={"COLLECTOR_TOKEN": "Bearer of-the-collector"}, workers=2
        ) as kortex:
            url, headers = f"{kortex.base_url}/chat/completions", {"traceparent": f"00-{TRACE}-{PARENT}-01"}
            reply = httpx.post(url, json=CHAT, headers=headers, timeout=30, trust_env=False)
            refused = httpx.post(url, json=CHAT | {"model": "none"}, timeout=30, trust_env=False)
            assert (reply.status_code, refused.status_code) == (200, 404)
            told = kortex.stdout + kortex.stderr + str(kortex.described())
    (exchange,) = collector.named("chat pair")
    first, second = collector.named("chat inner")
    assert exchange.parent_span_id.hex() == PARENT
    assert {span.trace_id.hex() for span in (exchange, first, second)} == {TRACE}
    assert {span.parent_span_id for span in (first, second)} == {exchange.span_id}
    assert exchange.start_time_unix_nano <= first.start_time_unix_nano < first.end_time_unix_nano
    assert attributes(first)["kortex.failover_reason"] == "overloaded"
    assert attributes(second)["kortex.backend"] == "b"
    for fake, span in ((a, first), (b, second)):
        (request,) = fake.requests
        assert request.headers["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
    (stranger,) = [span for span in collector.spans if attributes(span).get("error.type") == "model_not_found"]
    assert stranger.trace_id.hex() != TRACE
    assert {headers["authorization"] for headers in collector.headers} == {"Bearer of-the-collector"}
    assert "of-the-collector" not in told
    assert "words that nobody keeps" not in str(collector.spans)
