"""Experiments through the real Envoy: who is treated, who stays where they are, and whose answers count."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.envoy.kortex_process import ROOT, KortexProcess
from tests.fakes import FakeProvider, Status

CONFIG = """
gateway: {{explain: all}}
backends:
  old: {{provider: custom, url: "{a}", model: old-model, cost: {{inputTokenCost: "1", outputTokenCost: "2"}}}}
  new: {{provider: custom, url: "{b}", model: new-model, cost: {{inputTokenCost: "3", outputTokenCost: "4"}}}}
  blind: {{provider: custom, url: "{b}", model: blind-model, capabilities: {{vision: false}}}}
  other: {{provider: custom, url: "{b}", model: other-model}}
routes:
  seeing:
    models: [seeing]
    experiments: [{{name: sight, control: old, treatment: blind, trafficPercent: 100}}]
    defaultBackend: {{name: old}}
  drained:
    models: [drained]
    experiments: [{{name: drain, control: old, treatment: new, trafficPercent: 100}}]
    rules: [{{backends: [{{name: old}}, {{name: new, weight: 0}}]}}]
    defaultBackend: {{name: old}}
  half:
    models: [half]
    retries: {{perBackend: 0}}
    experiments: [{{name: model, control: old, treatment: new, trafficPercent: 50}}]
    defaultBackend: {{name: old}}
  dear:
    models: [dear]
    experiments: [{{name: first-choice, control: old, treatment: new, trafficPercent: 100}}]
    defaultBackend: {{name: old}}
  cheap:
    models: [cheap]
    experiments: [{{name: second-choice, control: old, treatment: new, trafficPercent: 100}}]
    defaultBackend: {{name: old}}
  ruled:
    models: [ruled]
    experiments: [{{name: vip, control: old, treatment: new, trafficPercent: 100, unit: {{header: x-team}}}}]
    rules: [{{match: {{headers: {{x-tier: gold}}}}, experiment: vip}}]
    defaultBackend: {{name: other}}
quota: {{url: "sqlite:///{books}/quota.db"}}
budgets:
  - name: pocket-money
    match: {{route: dear}}
    tokens: 1000
    estimator: {{cap: 10}}
    tiers: [{{at: "10%", alias: cheap}}]
"""


IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://i.test/x.png"}}]}]


def kortex(*arguments: str | Path) -> Any:
    """The JSON that a command prints."""
    command = [sys.executable, "-m", "extproc.cli.main", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)


@dataclass(frozen=True, slots=True)
class Stage:
    """A gateway with two workers before two providers."""

    gateway: KortexProcess
    config: str
    a: FakeProvider
    b: FakeProvider

    def chat(self, model: str, user: str | None = None, **headers: str) -> httpx.Response:
        """A call, and its whole reply."""
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        if user is not None:
            body["user"] = user
        return httpx.post(f"{self.gateway.base_url}/chat/completions", json=body, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Started once."""
    with FakeProvider(name="a") as a, FakeProvider(name="b") as b:
        config = CONFIG.format(a=a.url, b=b.url, books=tmp_path_factory.mktemp("books"))
        with KortexProcess(config, workers=2) as gateway:
            yield Stage(gateway, config, a, b)


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
    with KortexProcess(stage.config) as other:
        restarted = Stage(other, stage.config, stage.a, stage.b)
        assert {user: restarted.chat("half", user).headers["x-kortex-experiment"] for user in users} == first


def test_a_call_that_a_budget_made_cheaper_is_in_the_experiment_of_the_cheaper_model(stage: Stage) -> None:
    """It is decided about twice, and counts once: as what it was in the end."""
    before = stage.gateway.metrics()
    wanted: Counter[str] = Counter()
    while wanted["second-choice"] < 3:
        wanted[stage.chat("dear").headers["x-kortex-experiment"].removesuffix("=treatment")] += 1
    assert wanted["first-choice"] > 0

    def grown(metric: str) -> float:
        return stage.gateway.metrics().get(metric, 0.0) - before.get(metric, 0.0)

    def counted(name: str, **labels: str) -> dict[str, float]:
        written = "".join(f',{label}="{value}"' for label, value in labels.items())
        metric = f'kortex_experiment_{name}{{experiment="%s"{written},variant="treatment"}}'
        return {experiment: grown(metric % experiment) for experiment in wanted}

    stage.gateway.until(lambda: counted("outcomes_total", outcome="answered") == wanted, "every outcome is counted")
    assert counted("assignments_total") == wanted
    assert counted("exposures_total") == wanted
    decisions = {name: grown(f'kortex_decisions_total{{route="{name}",rule=""}}') for name in ("dear", "cheap")}
    assert decisions == {"dear": wanted["first-choice"], "cheap": wanted["second-choice"]}


def test_an_answer_counts_for_its_own_variant_alone(stage: Stage) -> None:
    """Assignment, exposure, outcome, duration, tokens and cost, by variant."""
    before = stage.gateway.metrics()
    users = [f"user-{number}" for number in range(24)]
    variants = Counter(stage.chat("half", user).headers["x-kortex-experiment"] for user in users)

    def grown(name: str, variant: str, **labels: str) -> float:
        named = sorted({"experiment": "model", "variant": variant, **labels}.items())
        written = ",".join(f'{label}="{value}"' for label, value in named)
        metric = f"kortex_experiment_{name}{{{written}}}"
        return stage.gateway.metrics().get(metric, 0.0) - before.get(metric, 0.0)

    def counted() -> bool:
        answered = (grown("outcomes_total", variant, outcome="answered") for variant in ("control", "treatment"))
        return sum(answered) == len(users)

    stage.gateway.until(counted, "every outcome is counted")
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
    outcome = 'kortex_experiment_outcomes_total{experiment="model",outcome="failed_over",variant="treatment"}'
    stage.gateway.until(
        lambda: stage.gateway.metrics().get(outcome, 0) == before.get(outcome, 0) + 1, "the outcome is counted"
    )
    after = stage.gateway.metrics()
    answered = 'kortex_experiment_outcomes_total{experiment="model",outcome="answered",variant="treatment"}'
    assert after[answered] == before[answered]


def test_a_rule_may_lead_to_an_experiment(stage: Stage) -> None:
    """Only the calls that it matches are part of it; here all of those are treated."""
    reply = stage.chat("ruled", **{"x-tier": "gold", "x-team": "blue"})
    assert reply.headers["x-kortex-experiment"] == "vip=treatment"
    assert reply.headers["x-kortex-backend"] == "new"
    other = stage.chat("ruled", **{"x-team": "blue"})
    assert "x-kortex-experiment" not in other.headers
    assert other.headers["x-kortex-backend"] == "other"


@pytest.mark.parametrize(
    ("model", "body", "hindrance"),
    [
        pytest.param("half", {"user": "user-1"}, None, id="counts"),
        pytest.param("seeing", {"messages": IMAGE}, "blind lacks images", id="excluded"),
        pytest.param("drained", {}, "new is drained: its weight is 0", id="drained"),
    ],
)
def test_an_explanation_tells_the_variant_and_whether_it_counts(
    stage: Stage, tmp_path: Path, model: str, body: dict[str, Any], hindrance: str | None
) -> None:
    """By the command, for the decision of a live call: the reply names the variant where it counts, and only there."""
    whole = {"model": model, "messages": [{"role": "user", "content": "hello"}], **body}
    url = f"{stage.gateway.base_url}/chat/completions"
    reply = httpx.post(url, json=whole, headers={"x-kortex-explain": "1"}, timeout=30)
    request = tmp_path / "request.json"
    request.write_text(json.dumps(whole))
    decision = reply.headers["x-kortex-decision"]
    told = kortex("explain", request, "--config", stage.gateway.config_path, "--decision", decision)
    assert told["plan"][0] == reply.headers["x-kortex-backend"]
    (experiment,) = told["experiments"]
    assert experiment["hindrance"] == hindrance
    tag = f"{experiment['name']}={experiment['variant']}"
    assert reply.headers.get("x-kortex-experiment") == (tag if hindrance is None else None)


def test_the_report_counts_what_the_providers_received(stage: Stage, tmp_path: Path) -> None:
    """Users, requests and failovers by variant, from the ledger of a gateway with two workers."""
    ledger = f'ledger: {{url: "sqlite:///{tmp_path}/usage.db"}}\n'
    users = [f"user-{number}" for number in range(30)]
    with KortexProcess(ledger + stage.config, workers=2) as gateway:
        booked = Stage(gateway, stage.config, stage.a, stage.b)
        for user in users * 2:
            assert booked.chat("half", user).status_code == 200
        by_variant = {
            "control": [request.json["user"] for request in stage.a.requests],
            "treatment": [request.json["user"] for request in stage.b.requests],
        }
        treated = by_variant["treatment"][0]
        stage.b.always = Status(500)
        assert booked.chat("half", treated).headers["x-kortex-experiment"] == "model=treatment;failed_over"
        by_variant["treatment"].append(treated)
        gateway.until(
            lambda: gateway.metrics()['kortex_ledger_records_total{kind="exchange"}'] == 2 * len(users) + 1,
            "everything is booked",
        )
        (report,) = kortex("experiments", "report", "model", "--config", gateway.config_path)["experiments"]
    for variant, asked in by_variant.items():
        found = report["variants"][variant]
        assert (found["units"], found["requests"]) == (len(set(asked)), len(asked))
    assert sum(report["variants"][variant]["units"] for variant in by_variant) == len(users)
    requests = len(by_variant["treatment"])
    treatment, control = report["variants"]["treatment"], report["variants"]["control"]
    assert treatment["failed_over"]["value"] == pytest.approx(1 / requests)
    assert treatment["answered"]["value"] == pytest.approx(1 - 1 / requests)
    assert control["answered"]["value"] == 1
    assert control["latency_mean"]["value"] > 0
    cost_of_token = {variant: report["variants"][variant]["cost USD"]["value"] for variant in by_variant}
    assert cost_of_token["treatment"] > cost_of_token["control"] > 0
    assert report["difference"]["cost USD"]["value"] > 0
    assert report["split"]["suspicious"] is False
