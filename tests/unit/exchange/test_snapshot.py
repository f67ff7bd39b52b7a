"""A config, compiled: which changes of a backend make it another target, whose old listener Envoy then drains."""

from __future__ import annotations

import pytest

from extproc.config.load import load
from extproc.exchange.snapshot import compile_snapshot
from extproc.providers.registry import PROVIDERS, SETTINGS

BACKEND = '{{provider: custom, url: "http://first.test/v1", model: large{more}}}'
ROUTES = "routes: {all: {models: ['*'], defaultBackend: {name: first}}}"


def target_of(more: str) -> str:
    """The name of the only target, whose backend has this more to it."""
    text = f"backends: {{first: {BACKEND.format(more=more)}}}\n{ROUTES}"
    config = load(text.encode(), SETTINGS).config
    credentials = {"first": lambda: None}
    (target,) = compile_snapshot(
        config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials=credentials
    ).targets.values()
    return target.name


@pytest.mark.parametrize(
    "more",
    [
        ', cost: {inputTokenCost: "0.000003", outputTokenCost: "0.000015"}',
        ", unpriced: reject",
        ", capabilities: {vision: true}",
        ", maxOutput: 4096",
        ", circuitBreaker: {consecutiveFailures: 3}",
    ],
)
def test_what_envoy_knows_nothing_of_makes_no_other_target(more: str) -> None:
    """So no stream in flight is hurried by a new price."""
    assert target_of(more) == target_of("")


@pytest.mark.parametrize("more", [", maxConcurrency: 3", ", healthCheck: {path: /up}", ", forwardHeaders: [x-team]"])
def test_what_envoy_is_told_makes_another_target(more: str) -> None:
    """Its cluster and its listener are new."""
    assert target_of(more) != target_of("")
