"""Keys, limits and budgets through a real Envoy, as the official client meets them."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from extproc.admission.keyring import hash_secret, spell_hash
from tests.envoy.kortex_process import KortexProcess
from tests.fakes import FakeProvider
from tests.fakes.faults import HeadersThenSilence, SlowEvents, StallAfter

NAMES = ("free", "tagged", "silver", "narrow", "old", "slow", "busy", "shadow", "poor", "rich", "talker", "brief")
SECRETS = {name: f"kx-the-secret-of-{name}" for name in NAMES}


def key(name: str, **fields: Any) -> dict[str, Any]:
    """One entry of ``keys``."""
    return {"name": name, "hash": spell_hash(hash_secret(SECRETS[name])), **fields}


def config(url: str, quota: str) -> dict[str, Any]:
    """One key for each thing that can be limited."""
    return {
        "keys": [
            key("free"),
            key("tagged", tags=["beta", "staff"]),
            key("silver", tier="silver"),
            key("narrow", models=["small"]),
            key("old", expires="2020-01-01"),
            key("slow", limits=[{"requestsPerMinute": 3, "tokensPerMinute": 100_000}]),
            key("busy", limits=[{"name": "few-at-once", "concurrent": 2}]),
            key("shadow", limits=[{"requestsPerMinute": 1, "mode": "shadow"}]),
            key("poor", tenant="poor", tier="free"),
            key("rich", tenant="rich"),
            key("brief", budgets=[{"name": "short", "tokens": 10**6, "estimator": {"output": "enforced", "cap": 10}}]),
            key("talker", budgets=[{"name": "words", "tokens": 300, "window": "total", "estimator": {"cap": 10}}]),
        ],
        "budgets": [
            {
                "name": "pocket-money",
                "per": "tenant",
                "match": {"tenant": "poor"},
                "amount": "0.04",
                "window": "month",
                "timezone": "Europe/Berlin",
                "estimator": {"cap": 10},
                "tiers": [{"at": "50%", "alias": "small", "maxTokens": 7, "noReasoning": True}],
            },
        ],
        "quota": {"url": quota},
        "backends": {
            "fake": {
                "provider": "custom",
                "url": url,
                "model": "large-model",
                "cost": {"inputTokenCost": "0.1", "outputTokenCost": "1"},
            },
            "cheap": {
                "provider": "custom",
                "url": url,
                "model": "small-model",
                "cost": {"inputTokenCost": "0.01", "outputTokenCost": "0.1"},
            },
        },
        "routes": {
            "large": {"models": ["large"], "defaultBackend": {"name": "fake"}},
            "small": {"models": ["small"], "defaultBackend": {"name": "cheap"}},
            "safe": {"models": ["safe"], "defaultBackend": {"name": "fake"}, "fallback": {"backends": ["cheap"]}},
            "by-caller": {
                "models": ["by-caller"],
                "rules": [
                    {"match": {"caller": {"key": "rich"}}, "backends": [{"name": "fake"}]},
                    {"match": {"caller": {"tags": "beta"}}, "backends": [{"name": "fake"}]},
                    {"match": {"when": "caller.tier == 'silver'"}, "backends": [{"name": "fake"}]},
                ],
                "defaultBackend": {"name": "cheap"},
            },
            "old-style": {
                "models": ["old-style"],
                "defaultBackend": {"name": "cheap"},
                "rateLimit": {"requestsPerMinute": 2, "perUser": True},
            },
        },
    }


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KortexProcess, FakeProvider]]:
    """Two workers, counting in one file."""
    quota = f"sqlite:///{tmp_path_factory.mktemp('quota')}/quota.db"
    with FakeProvider() as fake, KortexProcess(config(fake.base_url, quota), workers=2) as gateway:
        yield gateway, fake


@pytest.fixture
def gateway(shared: tuple[KortexProcess, FakeProvider]) -> KortexProcess:
    """The gateway."""
    return shared[0]


@pytest.fixture
def fake(shared: tuple[KortexProcess, FakeProvider]) -> FakeProvider:
    """Its provider, not asked anything yet."""
    shared[1].clear_faults()
    shared[1].clear()
    return shared[1]


def client(gateway: KortexProcess, name: str) -> openai.OpenAI:
    """The official client with one of the keys."""
    return openai.OpenAI(base_url=gateway.base_url, api_key=SECRETS[name], max_retries=0)


def ask(gateway: KortexProcess, name: str, model: str = "small", **fields: Any) -> httpx.Response:
    """The same by hand, for its headers."""
    return httpx.post(
        f"{gateway.base_url}/chat/completions",
        json={"model": model, "messages": [{"role": "user", "content": "hello"}], **fields},
        headers={"x-api-key": SECRETS[name]},
        timeout=30,
    )


def test_a_client_without_a_good_key_is_refused(gateway: KortexProcess, fake: FakeProvider) -> None:
    """Before anybody is asked; the exception is the SDK's own."""
    messages: Any = [{"role": "user", "content": "hello"}]
    for secret in ("wrong", SECRETS["old"]):
        stranger = openai.OpenAI(base_url=gateway.base_url, api_key=secret, max_retries=0)
        with pytest.raises(openai.AuthenticationError) as refused:
            stranger.chat.completions.create(model="small", messages=messages)
        assert refused.value.code == "invalid_api_key"
        assert secret not in str(refused.value)
    reply = httpx.get(f"{gateway.base_url}/models")
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert fake.requests == []


def test_a_key_is_good_for_its_models_only(gateway: KortexProcess, fake: FakeProvider) -> None:
    """It sees no others."""
    narrow = client(gateway, "narrow")
    messages: Any = [{"role": "user", "content": "hello"}]
    with pytest.raises(openai.PermissionDeniedError) as refused:
        narrow.chat.completions.create(model="large", messages=messages)
    assert refused.value.code == "model_not_allowed"
    assert [model.id for model in narrow.models.list()] == ["small"]
    assert narrow.chat.completions.create(model="small", messages=messages).choices
    assert len(fake.requests) == 1
    assert SECRETS["narrow"] not in str(fake.requests)


def test_a_limited_caller_is_told_what_is_left(gateway: KortexProcess, fake: FakeProvider) -> None:
    """On every reply, the refusal too, which the SDK raises as what it is."""
    replies = [ask(gateway, "slow") for _ in range(4)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429]
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies] == ["2", "1", "0", "0"]
    assert {reply.headers["x-ratelimit-limit-requests"] for reply in replies} == {"3"}
    assert {reply.headers["x-ratelimit-limit-tokens"] for reply in replies} == {"100000"}
    refused = replies[3]
    assert refused.headers["x-kortex-limit"] == "per-key"
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    limited = client(gateway, "slow")
    with pytest.raises(openai.RateLimitError):
        limited.chat.completions.create(model="small", messages=[{"role": "user", "content": "hello"}])
    assert len(fake.requests) == 3


def test_tokens_are_settled_at_what_was_used(gateway: KortexProcess, fake: FakeProvider) -> None:
    """Not at what was expected: over a thousand for an answer without a limit."""
    reply = httpx.post(
        f"{gateway.base_url}/embeddings", json={"model": "small", "input": "x"}, headers={"x-api-key": SECRETS["slow"]}
    )
    assert reply.status_code == 429  # the requests of the test before
    left = int(reply.headers["x-ratelimit-remaining-tokens"])
    assert left > 100_000 - 3 * 200


def _drop_when_told(gateway: KortexProcess, done: threading.Event) -> None:
    """A stream that its client leaves."""
    body = {"model": "small", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    url, headers = f"{gateway.base_url}/chat/completions", {"x-api-key": SECRETS["busy"]}
    with httpx.stream("POST", url, json=body, headers=headers, timeout=30) as reply:
        assert reply.status_code == 200
        done.wait(20)


def test_only_so_many_are_under_way_at_once(gateway: KortexProcess, fake: FakeProvider) -> None:
    """Over both workers together; and again, when those have ended, here by clients that leave."""
    done = threading.Event()
    fake.script = [StallAfter(1)] * 2
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = [pool.submit(_drop_when_told, gateway, done) for _ in range(2)]
        fake.wait_for(lambda provider: provider.active == 2)
        refused = [ask(gateway, "busy") for _ in range(2)]
        done.set()
        for one in running:
            one.result()
    assert [reply.status_code for reply in refused] == [429, 429]
    assert refused[0].headers["x-kortex-limit"] == "few-at-once"
    gateway.until(lambda: ask(gateway, "busy").status_code == 200, "those under way are given back")


def test_a_client_that_leaves_before_the_chain_is_at_its_end_holds_nothing(
    gateway: KortexProcess, fake: FakeProvider
) -> None:
    """A provider that has sent its headers could have broken off, so that another would be asked."""
    fake.script = [HeadersThenSilence()] * 2
    body = {"model": "safe", "messages": [{"role": "user", "content": "hello"}]}
    url, headers = f"{gateway.base_url}/chat/completions", {"x-api-key": SECRETS["busy"]}
    for _ in range(2):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url, json=body, headers=headers, timeout=1)
    gateway.until(lambda: ask(gateway, "busy").status_code == 200, "those under way are given back")


def test_a_shadow_limit_only_counts(gateway: KortexProcess, fake: FakeProvider) -> None:
    """What it would have refused."""
    replies = [ask(gateway, "shadow") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 200]
    assert not any("x-ratelimit-limit-requests" in reply.headers for reply in replies)
    counted = gateway.metrics()
    assert counted['kortex_limited_requests_total{kind="requests",mode="shadow",policy="per-key"}'] == 2


def test_a_route_limits_each_user_by_a_header(gateway: KortexProcess, fake: FakeProvider) -> None:
    """``rateLimit`` as it always was."""

    def status(user: str) -> int:
        body = {"model": "old-style", "messages": [{"role": "user", "content": "hello"}]}
        headers = {"x-api-key": SECRETS["free"], "X-User-Id": user}
        return httpx.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers).status_code

    assert [status("anna") for _ in range(3)] == [200, 200, 429]
    assert status("berta") == 200


def test_a_budget_is_stretched_and_then_used_up(gateway: KortexProcess, fake: FakeProvider) -> None:
    """From half of it on by a cheaper model with shorter answers; then refused, for this tenant alone."""
    replies = []
    for _ in range(100):
        replies.append(ask(gateway, "poor", model="large", max_tokens=9, reasoning_effort="high"))
        if replies[-1].status_code != 200:
            break
    refused = replies.pop()
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert "pocket-money of 0.04 USD" in refused.json()["error"]["message"]
    assert refused.headers["x-kortex-limit"] == "pocket-money"
    stretched = [reply for reply in replies if "x-kortex-brownout" in reply.headers]
    assert len(replies) > len(stretched) > 0
    assert replies[0].headers["x-kortex-backend"] == "fake"
    assert {reply.headers["x-kortex-backend"] for reply in stretched} == {"cheap"}
    assert stretched[0].headers["x-kortex-brownout"] == "pocket-money; at=50%"
    sent = [request.json for request in fake.requests]
    assert (sent[0]["model"], sent[0]["max_tokens"], sent[0]["reasoning_effort"]) == ("large-model", 9, "high")
    assert (sent[-1]["model"], sent[-1]["max_tokens"], sent[-1]["reasoning_effort"]) == ("small-model", 7, "low")
    assert ask(gateway, "rich", model="large").status_code == 200
    threshold = 'kortex_budget_thresholds_total{{budget="pocket-money",percent="{}"}}'
    gateway.until(lambda: gateway.metrics().get(threshold.format(100)) == 1, "the last threshold is counted")
    assert gateway.metrics()[threshold.format(50)] == 1


def test_a_stream_ends_in_order_when_its_budget_is_used_up(gateway: KortexProcess, fake: FakeProvider) -> None:
    """As at a limit of tokens: with its reason, its usage and its end; and the provider need not go on."""
    fake.script = [SlowEvents(0.01)]
    messages: Any = [{"role": "user", "content": "[words=900]"}]
    talker = client(gateway, "talker")
    with talker.chat.completions.create(
        model="small", messages=messages, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    ends = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert "word20 " in text
    assert "word900" not in text
    assert ends == ["length"]
    assert len({chunk.id for chunk in chunks}) == 1
    usage = chunks[-1].usage
    assert usage is not None
    assert 200 < usage.total_tokens < 320
    fake.wait_for(lambda provider: provider.active == 0)
    # What was cut off is booked a moment later.
    gateway.until(lambda: ask(gateway, "talker").status_code == 429, "the budget is used up")
    with pytest.raises(openai.RateLimitError) as refused:
        talker.chat.completions.create(model="small", messages=messages)
    assert refused.value.code == "insufficient_quota"
    assert "does not begin anew" in refused.value.message


@pytest.mark.parametrize(
    ("fields", "sent", "told"),
    [
        pytest.param({}, {"max_completion_tokens": 10}, "10", id="no-limit"),
        pytest.param({"max_tokens": 500}, {"max_tokens": 10}, "10", id="wider-limit"),
        pytest.param({"max_tokens": 9}, {"max_tokens": 9}, None, id="narrower-limit"),
        pytest.param({"n": 3}, {"max_completion_tokens": 3}, "3", id="several-choices"),
        pytest.param({"stream": True}, {}, None, id="stream"),
    ],
)
def test_an_answer_is_no_longer_than_its_budget_enforces(
    gateway: KortexProcess, fake: FakeProvider, fields: dict[str, Any], sent: dict[str, int], told: str | None
) -> None:
    """The provider is asked for no more than is held, and the client is told; nobody else's calls are changed."""
    for name in ("brief", "rich"):
        reply = ask(gateway, name, **fields)
        assert reply.headers.get("x-kortex-max-output") == (told if name == "brief" else None)
    asked = [{name: body[name] for name in body if name.startswith("max_")} for body in (r.json for r in fake.requests)]
    assert asked == [sent, {name: fields[name] for name in fields if name.startswith("max_")}]


def test_no_key_is_ever_shown(gateway: KortexProcess, fake: FakeProvider) -> None:
    """Not in logs, metrics, the config, nor at the provider."""
    ask(gateway, "free")
    told = [gateway.stdout, gateway.stderr, gateway.described(), gateway.metrics(), fake.requests]
    assert [name for name, secret in SECRETS.items() if secret in str(told)] == []


def test_a_new_key_opens_within_a_moment(tmp_path: Path) -> None:
    """The file of keys is watched, and a key taken out of it opens nothing more."""
    file = tmp_path / "keys.jsonl"
    file.write_text("")
    with KortexProcess({"keysFile": str(file)}) as gateway:
        chat = {"model": "small", "messages": []}

        def status() -> int:
            headers = {"authorization": f"Bearer {SECRETS['free']}"}
            return httpx.post(f"{gateway.base_url}/chat/completions", json=chat, headers=headers).status_code

        assert status() == 401
        entry = spell_hash(hash_secret(SECRETS["free"]))
        file.write_text(f'{{"name": "free", "hash": "{entry}"}}\n')
        gateway.until(lambda: status() != 401, "the new key opens")
        file.write_text("")
        gateway.until(lambda: status() == 401, "it is closed again")


@pytest.mark.parametrize(
    ("name", "backend"), [("rich", "fake"), ("tagged", "fake"), ("silver", "fake"), ("free", "cheap")]
)
def test_rules_know_who_is_calling(gateway: KortexProcess, fake: FakeProvider, name: str, backend: str) -> None:
    """By the key's name, tags or tier; seen by where the call arrived."""
    reply = ask(gateway, name, "by-caller")
    assert reply.headers["x-kortex-backend"] == backend
    assert [request.json["model"] for request in fake.requests] == [
        f"{'large' if backend == 'fake' else 'small'}-model"
    ]
