"""Snapshots, calls and attempts to put the exchange through its paces without Envoy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from extproc.config.load import load
from extproc.exchange.assignment import Assignment
from extproc.exchange.attempt import Attempt, begin_attempt
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.headers import ASSIGNMENT, ENVOY_ATTEMPT_COUNT, TRAIL, Headers
from extproc.openai.call import Operation
from extproc.providers.registry import PROVIDERS, SETTINGS

CONFIG = b"""
gateway: {bodyLimit: 1KiB, timeouts: {total: 30s}}
backends:
  first:
    {provider: custom, url: "http://first.test/v1", model: first-large, contextWindow: 1000, forwardHeaders: [X-Team]}
  second: {provider: vllm, url: "http://second.test:8000", contextWindow: 500}
  third: {provider: mistral, apiKey: {env: THIRD}}
  cloud: {provider: bedrock, region: us-east-1, model: "amazon.nova-pro-v1:0"}
routes:
  cloud: {models: ["nova*"], defaultBackend: {name: cloud}, fallback: {backends: [first]}}
  exact: {models: [gpt-4, embed], defaultBackend: {name: first}, fallback: {backends: [second, first]}}
  wide: {models: ["gpt-*"], defaultBackend: {name: second}, timeouts: {firstToken: 2s}, retries: {perBackend: 3}}
  mistral: {models: ["mistral/*"], stripPrefix: mistral/, defaultBackend: {name: third}}
"""


@pytest.fixture(scope="session")
def snapshot() -> Snapshot:
    """One config, compiled."""
    config = load(CONFIG, SETTINGS).config
    credentials = {name: (lambda: None) for name in config.backends} | {"first": lambda: "sk-first-secret"}
    return compile_snapshot(config, number=7, loaded_at=1_700_000_000.0, providers=PROVIDERS, credentials=credentials)


StartAttempt = Callable[..., Attempt]


@pytest.fixture
def start(snapshot: Snapshot) -> StartAttempt:
    """Begin an attempt of a planned call, as the provider listener would."""

    def begin(
        *,
        number: int = 1,
        stream: bool = False,
        include_usage: bool = False,
        operation: Operation = Operation.CHAT,
        trail: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        model: str = "gpt-4",
        trace_ratio: float | None = None,
    ) -> Attempt:
        route = snapshot.route(model)
        assert route is not None
        assignment = Assignment(
            operation=operation,
            asked=model,
            model=route.upstream_name(model),
            stream=stream,
            include_usage=include_usage,
            route=route.name,
            plan=tuple(target.backend for target in route.targets),
            retries=route.retries,
            try_ms=2_000,
            idle_ms=1_000,
            arrived_ms=100_000,
            deadline_ms=130_000,
            exchange="0123456789abcdef0123456789abcdef",
        )
        fields = [(ASSIGNMENT, assignment.to_header().decode()), (ENVOY_ATTEMPT_COUNT, str(number)), *headers]
        if trail is not None:
            fields.append((TRAIL, trail))
        target = route.targets[number - 1]
        return begin_attempt(Headers(fields), target, started=100.0, trace_ratio=trace_ratio)

    return begin
