"""Rules, strategies, exclusions and explanations on the real Envoy, by where the request arrived."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.envoy.kortex_process import ROOT, KortexProcess
from tests.fakes import FakeProvider, Recorded, Status
from tests.fakes.anthropic_provider import FakeAnthropic

NOW = datetime.now(UTC)
AROUND_NOW = f"from: '{NOW - timedelta(hours=2):%H:%M}', to: '{NOW + timedelta(hours=2):%H:%M}'"
HOURS_AWAY = f"from: '{NOW + timedelta(hours=6):%H:%M}', to: '{NOW + timedelta(hours=8):%H:%M}'"
CONFIG = """
gateway: {{explain: all, circuitBreaker: {{enabled: false}}}}
backends:
  a: {{provider: openai, url: "{a}", model: a-model, apiKey: {{env: KEY_A}}, contextWindow: 9000,
       cost: {{inputTokenCost: "0.001", outputTokenCost: "0.004"}}}}
  b: {{provider: custom, url: "{b}", model: b-model, contextWindow: 3000,
       cost: {{inputTokenCost: "0.002", outputTokenCost: "0.001"}}}}
  c: {{provider: custom, url: "{c}", model: c-model, capabilities: {{vision: false}}}}
  mistral: {{provider: mistral, url: "{c}", model: mistral-large-latest, apiKey: {{env: KEY_A}}}}
  claude: {{provider: anthropic, url: "{claude}", model: claude-sonnet-4-5, apiKey: {{env: KEY_CLAUDE}}}}
routes:
{routes}
"""
KEYS = {"KEY_A": "sk-a-of-the-gateway", "KEY_CLAUDE": "sk-ant-of-the-gateway"}

# By model: what its rule matches. Such calls go to b, all others to a.
MATCHES = {
    "by-model*": "model: by-model-large",
    "by-header": "headers: {x-tier: free}",
    "by-prefix": "headers: {x-tier: {prefix: fr}}",
    "by-regex": "headers: {x-tier: {regex: '^f(r|l)ee$'}}",
    "by-presence": "headers: {x-tier: {present: true}}",
    "by-path": "path: /v1/embeddings",
    "by-operation": "operation: text_completion",
    "by-length": "promptTokens: {gt: 200}",
    "by-limit": "maxTokens: {lte: 5}",
    "by-stream": "stream: true",
    "by-tools": "uses: [tools]",
    "by-images": "uses: [images]",
    "by-user": "user: [ann, bob]",
    "by-metadata": "metadata: {team: red}",
    "by-hour": f"time: {{{AROUND_NOW}}}",
    "by-other-hour": f"time: {{{HOURS_AWAY}}}",
    "by-everything": "stream: true, headers: {x-tier: free}, user: ann",
    "by-cel": "when: 'promptTokens > 200 || (stream && user == \"ann\")'",
    "by-failing-cel": "when: \"headers['x-tier'] == 'free'\"",
}
# By model: a rule's backends and how they are put in order.
RULES = {
    "priority": "backends: [{name: b}, {name: a}], strategy: priority",
    "cheapest": "backends: [{name: a}, {name: b}, {name: c}], strategy: cheapest",
    "smallest": "backends: [{name: c}, {name: a}, {name: b}], strategy: smallestFit",
    "weighted": "backends: [{name: a, weight: 3}, {name: b, weight: 1}, {name: c, weight: 0}]",
    "kept": "backends: [{name: a}, {name: b}, {name: c}], affinity: {by: {header: x-session}}",
    "kept-user": "backends: [{name: a}, {name: b}, {name: c}], affinity: {by: user}",
    "able": "backends: [{name: claude}, {name: mistral}, {name: a}], strategy: priority",
    "sighted": "backends: [{name: c}, {name: a}], strategy: priority",
    "fastest": "backends: [{name: a}, {name: c}], strategy: fastest",
    "least": "backends: [{name: a}, {name: c}], strategy: leastBusy",
    "sampled": "match: {percentage: {value: 50, by: user}}, backends: [{name: b}]",
    "refused": "name: closed, match: {user: eve}, refuse: {status: 451, message: Not for eve., code: no_eve}",
}
LONG = {"messages": [{"role": "user", "content": "word " * 250}]}
IMAGE = {
    "messages": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}
    ]
}
TOOLS = {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]}
FREE = {"x-tier": "free"}


def once(rule: str) -> str:
    """The keys of a route with one rule that asks each backend once."""
    return f"retries: {{perBackend: 0}}, rules: [{{{rule}}}]"


def routes() -> str:
    """One route for each row of the tables."""
    matches = [f"match: {{{match}}}, backends: [{{name: b}}]" for match in MATCHES.values()]
    rules = [*zip(MATCHES, matches, strict=True), *RULES.items()]
    lines = [
        f"  r{number}: {{models: ['{model}'], defaultBackend: {{name: a}}, {once(rule)}}}"
        for number, (model, rule) in enumerate(rules)
    ]
    lines.append("  unable: {models: [unable], defaultBackend: {name: claude}, fallback: {backends: [b]}}")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Stage:
    """The gateway and the providers behind it."""

    gateway: KortexProcess
    fakes: Mapping[str, FakeProvider | FakeAnthropic]

    def post(self, model: str, body: Mapping[str, Any], path: str, headers: Mapping[str, str]) -> httpx.Response:
        """A client's request; without more it is a chat that says hello."""
        hello = {} if path != "/chat/completions" else {"messages": [{"role": "user", "content": "hello"}]}
        url = f"{self.gateway.base_url}{path}"
        return httpx.post(url, json={"model": model, **hello, **body}, headers=dict(headers), timeout=30)

    def fake(self, name: str) -> FakeProvider:
        """One of those that speak OpenAI's API."""
        fake = self.fakes[name]
        assert isinstance(fake, FakeProvider)
        return fake

    def asked(self) -> list[str]:
        """Which providers were asked."""
        return [name for name, fake in self.fakes.items() for _ in fake.requests]

    def chat(self, model: str, **body: Any) -> httpx.Response:
        """A chat without further headers."""
        return self.post(model, body, "/chat/completions", {})


@pytest.fixture(scope="module")
def shared_stage() -> Iterator[Stage]:
    """Started once; use ``stage``."""
    with (
        FakeProvider(name="a", api_key=KEYS["KEY_A"]) as a,
        FakeProvider(name="b") as b,
        FakeProvider(name="c") as c,
        FakeAnthropic(api_key=KEYS["KEY_CLAUDE"]) as claude,
        KortexProcess(
            CONFIG.format(a=a.url, b=b.url, c=c.url, claude=claude.base_url, routes=routes()), env=KEYS, workers=2
        ) as gateway,
    ):
        yield Stage(gateway, {"a": a, "b": b, "c": c, "claude": claude})


@pytest.fixture
def stage(shared_stage: Stage) -> Stage:
    """Healthy providers that have not been asked anything yet."""
    for fake in shared_stage.fakes.values():
        fake.clear_faults()
        fake.clear()
    shared_stage.fake("a").latency = 0.0
    return shared_stage


CHAT = "/chat/completions"


@pytest.mark.parametrize(
    ("model", "path", "body", "headers", "expected"),
    [
        pytest.param("by-model-large", CHAT, {}, {}, "b", id="model"),
        pytest.param("by-model-small", CHAT, {}, {}, "a", id="another-model"),
        pytest.param("by-header", CHAT, {}, FREE, "b", id="header"),
        pytest.param("by-header", CHAT, {}, {"x-tier": "paid"}, "a", id="another-value"),
        pytest.param("by-prefix", CHAT, {}, FREE, "b", id="prefix"),
        pytest.param("by-prefix", CHAT, {}, {"x-tier": "paid"}, "a", id="another-prefix"),
        pytest.param("by-regex", CHAT, {}, {"x-tier": "flee"}, "b", id="regex"),
        pytest.param("by-regex", CHAT, {}, {"x-tier": "freed"}, "a", id="no-match-of-the-regex"),
        pytest.param("by-presence", CHAT, {}, FREE, "b", id="present"),
        pytest.param("by-presence", CHAT, {}, {}, "a", id="absent"),
        pytest.param("by-path", "/embeddings", {"input": "x"}, {}, "b", id="path"),
        pytest.param("by-path", CHAT, {}, {}, "a", id="another-path"),
        pytest.param("by-operation", "/completions", {"prompt": "x"}, {}, "b", id="operation"),
        pytest.param("by-operation", CHAT, {}, {}, "a", id="another-operation"),
        pytest.param("by-length", CHAT, LONG, {}, "b", id="long"),
        pytest.param("by-length", CHAT, {}, {}, "a", id="short"),
        pytest.param("by-limit", CHAT, {"max_tokens": 5}, {}, "b", id="limited"),
        pytest.param("by-limit", CHAT, {}, {}, "a", id="unlimited"),
        pytest.param("by-stream", CHAT, {"stream": True}, {}, "b", id="stream"),
        pytest.param("by-stream", CHAT, {}, {}, "a", id="whole"),
        pytest.param("by-tools", CHAT, TOOLS, {}, "b", id="tools"),
        pytest.param("by-tools", CHAT, {}, {}, "a", id="no-tools"),
        pytest.param("by-images", CHAT, IMAGE, {}, "b", id="images"),
        pytest.param("by-images", CHAT, TOOLS, {}, "a", id="no-images"),
        pytest.param("by-user", CHAT, {"user": "ann"}, {}, "b", id="user"),
        pytest.param("by-user", CHAT, {"user": "eve"}, {}, "a", id="another-user"),
        pytest.param("by-metadata", CHAT, {"metadata": {"team": "red"}}, {}, "b", id="metadata"),
        pytest.param("by-metadata", CHAT, {"metadata": {"team": "blue"}}, {}, "a", id="other-metadata"),
        pytest.param("by-hour", CHAT, {}, {}, "b", id="now"),
        pytest.param("by-other-hour", CHAT, {}, {}, "a", id="not-now"),
        pytest.param("by-everything", CHAT, {"stream": True, "user": "ann"}, FREE, "b", id="everything"),
        pytest.param("by-everything", CHAT, {"stream": True, "user": "ann"}, {}, "a", id="all-but-one"),
        pytest.param("by-cel", CHAT, {"stream": True, "user": "ann"}, {}, "b", id="cel"),
        pytest.param("by-cel", CHAT, LONG, {}, "b", id="cel-counts"),
        pytest.param("by-cel", CHAT, {"user": "ann"}, {}, "a", id="cel-is-false"),
        pytest.param("by-failing-cel", CHAT, {}, FREE, "b", id="cel-answers"),
        pytest.param("by-failing-cel", CHAT, {}, {}, "a", id="cel-fails"),
        pytest.param("priority", CHAT, {}, {}, "b", id="priority"),
        pytest.param("cheapest", CHAT, {**LONG, "max_tokens": 3}, {}, "a", id="cheapest-by-its-prompt"),
        pytest.param("cheapest", CHAT, {"max_tokens": 200}, {}, "b", id="cheapest-by-its-answer"),
        pytest.param("smallest", CHAT, {}, {}, "b", id="smallest-fit"),
        pytest.param(
            "smallest", CHAT, {"messages": [{"role": "user", "content": "word " * 4_500}]}, {}, "a", id="next-fit"
        ),
        pytest.param("smallest", CHAT, {"max_tokens": 9_500}, {}, "c", id="no-known-fit"),
        pytest.param("able", CHAT, {}, {}, "claude", id="able"),
        pytest.param("able", CHAT, {"n": 2}, {}, "c", id="lacks-a-feature"),
        pytest.param("able", "/completions", {"prompt": "x"}, {}, "a", id="lacks-an-operation"),
        pytest.param("sighted", CHAT, {}, {}, "c", id="sees-nothing"),
        pytest.param("sighted", CHAT, IMAGE, {}, "a", id="lacks-vision"),
    ],
)
def test_a_call_goes_where_its_rule_says(
    stage: Stage, model: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str], expected: str
) -> None:
    """One backend is asked, and it is that one."""
    reply = stage.post(model, body, path, headers)
    assert reply.status_code == 200, reply.text
    assert stage.asked() == [expected]


def test_those_not_chosen_are_asked_when_the_first_fails(stage: Stage) -> None:
    """The losers are the tail of the plan."""
    stage.fakes["b"].always = Status(500, "broken")
    assert stage.chat("priority").headers["x-kortex-backend"] == "a"
    assert stage.asked() == ["a", "b"]


def test_a_split_keeps_its_shares_and_drains(stage: Stage) -> None:
    """Three to one over 80 calls, five standard deviations wide; weight 0 is never asked."""
    for _ in range(80):
        stage.chat("weighted")
    counted = Counter(stage.asked())
    assert 41 <= counted["a"] <= 79
    assert counted["a"] + counted["b"] == 80


def test_the_fastest_is_asked_but_for_a_few_calls(stage: Stage) -> None:
    """As measured by the streams of all routes, on all workers."""
    stage.fake("a").latency = 0.3
    for _ in range(3):
        stage.chat("by-model-small", stream=True)
        stage.chat("sighted", stream=True)

    def asked(calls: int) -> Counter[str]:
        return Counter(stage.chat("fastest").headers["x-kortex-backend"] for _ in range(calls))

    stage.gateway.until(lambda: asked(4) == {"c": 4}, "what was measured is known to the workers")
    assert asked(30)["c"] >= 20


def test_the_least_busy_is_asked(stage: Stage) -> None:
    """Whatever keeps the other busy, and on whichever worker that began."""
    stage.fake("a").latency = 3.0
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(stage.chat, "by-model-small") for _ in range(3)]
        stage.fake("a").wait_for(lambda fake: fake.active == 3)
        time.sleep(0.3)  # the workers tell each other within a tenth of a second
        busy = {stage.chat("least").headers["x-kortex-backend"] for _ in range(6)}
        assert [call.result().headers["x-kortex-backend"] for call in waiting] == ["a"] * 3
    assert busy == {"c"}


@pytest.mark.parametrize("model", ["kept", "kept-user"])
def test_a_unit_stays_on_its_backend(stage: Stage, model: str) -> None:
    """On every worker, and the units are spread."""
    homes: dict[str, str] = {}
    for unit in [f"u{number}" for number in range(12)] * 2:
        reply = stage.post(model, {"user": unit}, CHAT, {"x-session": unit})
        home = reply.headers["x-kortex-backend"]
        assert homes.setdefault(unit, home) == home
    assert len(set(homes.values())) > 1


def test_a_share_is_the_same_for_a_user_at_every_call(stage: Stage) -> None:
    """In it or not, on every worker."""
    places: dict[str, str] = {}
    for user in [f"u{number}" for number in range(16)] * 2:
        place = stage.chat("sampled", user=user).headers["x-kortex-backend"]
        assert places.setdefault(user, place) == place
    assert set(places.values()) == {"a", "b"}


def test_a_call_is_refused_by_a_rule_with_its_own_words(stage: Stage) -> None:
    """Nobody is asked."""
    reply = stage.chat("refused", user="eve")
    assert (reply.status_code, reply.json()["error"]["code"]) == (451, "no_eve")
    assert reply.json()["error"]["message"] == "Not for eve."
    assert stage.asked() == []
    assert stage.chat("refused", user="ann").status_code == 200


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        pytest.param(
            {**LONG, "n": 2, "max_tokens": 2_900},
            "unsupported_feature",
            "claude lacks n; b holds 3000 tokens, fewer than the prompt and an answer of 2900 tokens",
            id="both",
        ),
        pytest.param({"max_tokens": 300_000}, "context_length_exceeded", "b holds 3000 tokens", id="too-long"),
    ],
)
def test_a_call_is_refused_with_every_reason_when_nobody_can_serve_it(
    stage: Stage, body: Mapping[str, Any], code: str, message: str
) -> None:
    """Before anybody is asked."""
    reply = stage.chat("unable", **body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, code)
    assert message in reply.json()["error"]["message"]
    assert stage.asked() == []


def test_decisions_are_logged_and_counted(stage: Stage) -> None:
    """The rule and why, per attempt; an expression that fails is counted."""
    stage.post("by-failing-cel", {}, CHAT, {})
    reply = stage.post("able", {"n": 2}, CHAT, {"x-kortex-explain": "1"})
    identity = reply.headers["x-kortex-decision"]
    assert reply.headers["x-kortex-decision-reason"] == "rules[0]: number 1 of the list; claude lacks n"
    gateway = stage.gateway
    line = gateway.until(
        lambda: next((line for line in gateway.access_log if line.get("decision") == identity), None), "it is logged"
    )
    assert (line["rule"], line["decision_reason"]) == ("rules[0]", "number 1 of the list; claude lacks n")
    names = [*MATCHES, *RULES]
    failed, able = (f"r{names.index(model)}" for model in ("by-failing-cel", "able"))
    counted = gateway.metrics()
    assert counted[f'kortex_rule_errors_total{{route="{failed}",rule="rules[0]"}}'] > 0
    assert counted[f'kortex_decisions_total{{route="{able}",rule="rules[0]"}}'] > 0
    assert "x-kortex-decision" not in stage.chat("priority").headers


def explained(stage: Stage, tmp_path: Path, body: Mapping[str, Any], decision: str, headers: Mapping[str, str]) -> Any:
    """What the command says of a request."""
    request = tmp_path / "request.json"
    request.write_bytes(json.dumps(body).encode())
    more = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    config = ("--config", str(stage.gateway.config_path))
    command = [sys.executable, "-m", "extproc.cli.main", "explain", "--json", "--decision", decision]
    said = subprocess.run(
        [*command, *config, *more, str(request)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return json.loads(said.stdout)


@pytest.mark.parametrize(
    ("model", "body", "headers"),
    [
        pytest.param("weighted", {}, {}, id="drawn"),
        pytest.param("kept", {}, {"x-session": "s1"}, id="kept"),
        pytest.param(
            "by-length", LONG, {"authorization": "Bearer of-the-client", "x-secret": "of-the-client"}, id="rule"
        ),
        pytest.param("able", {"seed": 7, "tools": TOOLS["tools"], "user": "ann"}, {}, id="translated"),
        pytest.param("able", {"stream": True}, {"traceparent": "00-1-2-01"}, id="streamed"),
        pytest.param("able", {"n": 2}, {}, id="excluded"),
    ],
)
def test_an_explanation_is_what_happens(
    stage: Stage, tmp_path: Path, model: str, body: Mapping[str, Any], headers: Mapping[str, str]
) -> None:
    """The same plan for the same id, and each provider is sent what was said, byte for byte but for its key."""
    for fake in stage.fakes.values():
        fake.always = Status(503, "broken")
    whole = {"model": model, "messages": [{"role": "user", "content": "hello"}], **body}
    sent = {"content-type": "application/json", **headers}
    url = f"{stage.gateway.base_url}{CHAT}"
    reply = httpx.post(url, content=json.dumps(whole), headers={**sent, "x-kortex-explain": "1"}, timeout=30)
    decision = reply.headers["x-kortex-decision"]
    told = explained(stage, tmp_path, whole, decision, headers)
    posted = httpx.post(
        f"{stage.gateway.admin_url}/explain", json={"body": whole, "headers": headers, "decision": decision}, timeout=30
    ).json()
    assert {key: value for key, value in posted.items() if key != "attempts"} == {
        key: value for key, value in told.items() if key != "attempts"
    }
    tried = [past.partition("=")[0] for past in reply.headers.get("x-kortex-trail", "").split(", ") if past]
    assert [*tried, reply.headers["x-kortex-backend"]] == told["plan"]
    arrived = sorted((request for fake in stage.fakes.values() for request in fake.requests), key=_received)
    assert len(arrived) == len(told["attempts"])
    for request, attempt in zip(arrived, told["attempts"], strict=True):
        _compare(request, attempt["request"])
        assert "of-the-client" not in json.dumps(attempt)
        assert not set(KEYS.values()) & set(json.dumps(attempt).split('"'))


def _received(request: Recorded) -> float:
    return request.received_at


def _compare(request: Recorded, told: Mapping[str, Any]) -> None:
    assert request.method == told["method"]
    assert told["url"] == f"http://{request.headers['host']}{request.path}"
    assert request.body.decode() == told["body"]
    headers = dict(told["headers"])
    secrets = {name for name, value in headers.items() if value == "***"}
    added = {"host", "x-request-id", "x-forwarded-proto", "content-length", "user-agent"}
    assert {name for name in request.headers if name not in added} == {name for name in headers if name not in added}
    for name in set(headers) - added - secrets:
        assert request.headers[name] == headers[name]
