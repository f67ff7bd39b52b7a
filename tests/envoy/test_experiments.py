"""Experiments through the real Envoy: who is treated, who stays where they are, and whose answers count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import FakeProvider, Status

CONFIG = """
backends:
  old: {{provider: custom, url: "{a}", model: old-model, cost: {{inputTokenCost: "1", outputTokenCost: "2"}}}}
  new: {{provider: custom, url: "{b}", model: new-model, cost: {{inputTokenCost: "3", outputTokenCost: "4"}}}}
  drained: {{provider: custom, url: "{b}", model: drained-model}}
routes:
  half:
    models: [half]
    retries: {{perBackend: 0}}
    experiments: [{{name: model, control: old, treatment: new, trafficPercent: 50}}]
    defaultBackend: {{name: old}}
  ruled:
    models: [ruled]
    experiments: [{{name: vip, control: old, treatment: new, trafficPercent: 100, unit: {{header: x-team}}}}]
    rules: [{{match: {{headers: {{x-tier: gold}}}}, experiment: vip}}]
    defaultBackend: {{name: drained}}
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """A gateway with two workers before two providers."""

    gateway: KortexProcess
    a: FakeProvider
    b: FakeProvider

    def chat(self, model: str, user: str | None = None, **headers: str) -> httpx.Response:
        """A call, and its whole reply."""
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        if user is not None:
            body["user"] = user
        return httpx.post(f"{self.gateway.base_url}/chat/completions", json=body, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def shared() -> Iterator[Stage]:
    """Started once."""
    with (
        FakeProvider(name="a") as a,
        FakeProvider(name="b") as b,
        KortexProcess(CONFIG.format(a=a.url, b=b.url), workers=2) as gateway,
    ):
        yield Stage(gateway, a, b)


@pytest.fixture
def stage(shared: Stage) -> Stage:
    """Healthy, with nothing asked yet."""
    for fake in (shared.a, shared.b):
        fake.clear_faults()
        fake.clear()
    return shared


def test_each_user_keeps_the_variant_on_every_worker_and_after_a_restart(stage: Stage) -> None:
    """Three calls each; then the same users at another gateway with the same config."""
    users = [f"user-{number}" for number in range(24)]
    first = {user: stage.chat("half", user).headers["x-kortex-experiment"] for user in users}
    assert Counter(first.values()).keys() == {"model=control", "model=treatment"}
    for user in users:
        again = {stage.chat("half", user).headers["x-kortex-experiment"] for _ in range(2)}
        assert again == {first[user]}
    asked = Counter(request.json["user"] for request in stage.b.requests)
    assert asked == {user: 3 for user in users if first[user] == "model=treatment"}
    with KortexProcess(CONFIG.format(a=stage.a.url, b=stage.b.url)) as other:
        restarted = Stage(other, stage.a, stage.b)
        assert {user: restarted.chat("half", user).headers["x-kortex-experiment"] for user in users} == first


def test_an_answer_counts_for_its_own_variant_alone(stage: Stage) -> None:
    """Assignment, exposure, outcome, duration, tokens and cost, by variant."""
    before = stage.gateway.metrics()
    users = [f"user-{number}" for number in range(24)]
    variants = Counter(stage.chat("half", user).headers["x-kortex-experiment"] for user in users)
    after = stage.gateway.metrics()

    def grown(name: str, variant: str, **labels: str) -> float:
        named = sorted({"experiment": "model", "variant": variant, **labels}.items())
        written = ",".join(f'{label}="{value}"' for label, value in named)
        metric = f"kortex_experiment_{name}{{{written}}}"
        return after.get(metric, 0.0) - before.get(metric, 0.0)

    for variant, (input_price, output_price) in {"control": (1, 2), "treatment": (3, 4)}.items():
        count = variants[f"model={variant}"]
        assert count > 0
        assert grown("assignments_total", variant) == count
        assert grown("exposures_total", variant) == count
        assert grown("outcomes_total", variant, outcome="answered") == count
        assert grown("request_duration_seconds_count", variant) == count
        tokens = {kind: grown("tokens_total", variant, type=kind) for kind in ("input", "output")}
        cost = (tokens["input"] * input_price + tokens["output"] * output_price) / 1_000
        assert cost > 0
        assert grown("cost_total", variant, currency="USD") == pytest.approx(cost)


def test_another_backend_s_answer_is_not_credited_to_the_variant(stage: Stage) -> None:
    """The header and the outcome say that it failed over."""
    users = [f"user-{number}" for number in range(24)]
    treated = next(
        user for user in users if stage.chat("half", user).headers["x-kortex-experiment"] == "model=treatment"
    )
    stage.b.always = Status(500)
    before = stage.gateway.metrics()
    reply = stage.chat("half", treated)
    assert reply.headers["x-kortex-backend"] == "old"
    assert reply.headers["x-kortex-experiment"] == "model=treatment;failed_over"
    after = stage.gateway.metrics()
    outcome = 'kortex_experiment_outcomes_total{experiment="model",outcome="failed_over",variant="treatment"}'
    answered = 'kortex_experiment_outcomes_total{experiment="model",outcome="answered",variant="treatment"}'
    assert after[outcome] - before.get(outcome, 0) == 1
    assert after[answered] == before[answered]


def test_a_rule_may_lead_to_an_experiment(stage: Stage) -> None:
    """Only the calls that it matches are part of it; here all of those are treated."""
    reply = stage.chat("ruled", **{"x-tier": "gold", "x-team": "blue"})
    assert reply.headers["x-kortex-experiment"] == "vip=treatment"
    assert reply.headers["x-kortex-backend"] == "new"
    other = stage.chat("ruled", **{"x-team": "blue"})
    assert "x-kortex-experiment" not in other.headers
    assert other.headers["x-kortex-backend"] == "drained"
