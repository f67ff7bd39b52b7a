"""Saving kortex.yaml while ``kortex run`` serves, and what the admin listener says about it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.envoy.kortex_process import FREE_PORT, KortexProcess
from tests.fakes import FakeProvider, SlowEvents

KEY = "sk-of-a-test"
REJECTED = 'kortex_config_reloads_total{result="rejected"}'
HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def config(fake: FakeProvider, **backend: Any) -> dict[str, Any]:
    """The model ``m`` is answered by the fake."""
    return {
        "gateway": {"listen": FREE_PORT, "admin": FREE_PORT},
        "backends": {fake.name: {"provider": "custom", "url": fake.url, **backend}},
        "routes": {"all": {"models": ["m"], "defaultBackend": {"name": fake.name}}},
    }


def ask(kortex: KortexProcess) -> httpx.Response:
    """A chat completion."""
    return httpx.post(f"{kortex.base_url}/chat/completions", json=HELLO, timeout=20, trust_env=False)


def answers(kortex: KortexProcess, backend: str) -> bool:
    """Whether this backend is the one that answers now."""
    return ask(kortex).headers["x-kortex-backend"] == backend


def saved_until_served(kortex: KortexProcess, fake: FakeProvider) -> float:
    """Seconds from saving another config to the first answer by it."""
    begun = time.monotonic()
    kortex.write(config(fake))
    kortex.until(lambda: answers(kortex, fake.name), f"{fake.name} answers")
    return time.monotonic() - begun


def sent_key(kortex: KortexProcess, fake: FakeProvider) -> str:
    """The credential that the provider is given now."""
    ask(kortex)
    return fake.requests[-1].headers["authorization"]


@pytest.fixture(scope="module")
def old() -> Iterator[FakeProvider]:
    """What every test begins with."""
    with FakeProvider(name="old") as fake:
        yield fake


@pytest.fixture(scope="module")
def new() -> Iterator[FakeProvider]:
    """What is served later."""
    with FakeProvider(name="new") as fake:
        yield fake


@pytest.fixture(scope="module")
def started(old: FakeProvider) -> Iterator[KortexProcess]:
    """One gateway for all tests here: reloading is what they are about."""
    with KortexProcess(config(old), env={"KEY": KEY}, workers=2) as kortex:
        yield kortex


@pytest.fixture
def kortex(started: KortexProcess, old: FakeProvider) -> KortexProcess:
    """It serves the old config, whatever the test before has done."""
    old.always = None
    # Text that differs each time, or a config that is there already would not be taken up again.
    started.reload(config(old, contextWindow=100_000 + started.described()["number"]))
    return started


def test_saved_config_serves_within_a_second(kortex: KortexProcess, old: FakeProvider, new: FakeProvider) -> None:
    """On the same process, and counted; the quickest of three tells what the gateway needs on a busy machine."""
    before = kortex.described()
    taken = [saved_until_served(kortex, fake) for fake in (new, old, new)]
    assert min(taken) < 1.0
    after = kortex.described()
    assert after["number"] == before["number"] + 3
    assert after["reloads"]["accepted"] == before["reloads"]["accepted"] + 3
    assert after["config"]["backends"]["new"]["url"] == new.url
    assert kortex.metrics()["kortex_config_number"] == after["number"]


def test_swapped_link_takes_effect(tmp_path: Path, old: FakeProvider, new: FakeProvider) -> None:
    """As Kubernetes updates a mounted ConfigMap."""
    for version, fake in (("..1", old), ("..2", new)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "kortex.yaml").write_text(yaml.safe_dump(config(fake)))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "kortex.yaml").symlink_to("..data/kortex.yaml")
    with KortexProcess(config_path=tmp_path / "kortex.yaml") as mounted:
        assert answers(mounted, "old")
        (tmp_path / "..next").symlink_to("..2")
        (tmp_path / "..next").replace(tmp_path / "..data")
        mounted.until(lambda: answers(mounted, "new"), "the new config serves")


def test_broken_config_changes_nothing_and_is_shown(kortex: KortexProcess, new: FakeProvider) -> None:
    """In the log, at /config and in the metrics; mending it is all it takes."""
    before = kortex.metrics()
    kortex.write(b"backends: {a: {provider: opnai}}")
    error = kortex.until(lambda: kortex.described()["lastError"], "the problem is shown")
    assert 'did you mean "openai"?' in error["message"]
    assert 'did you mean "openai"?' in kortex.stderr
    assert answers(kortex, "old")
    assert kortex.ready()
    after = kortex.metrics()
    assert after[REJECTED] == before[REJECTED] + 1
    assert after["kortex_config_rejected"] == 1
    assert after["kortex_config_number"] == before["kortex_config_number"]
    kortex.reload(config(new))
    assert answers(kortex, "new")
    assert kortex.described()["lastError"] is None


def test_missing_config_changes_nothing_and_is_shown(kortex: KortexProcess) -> None:
    """Deleted by mistake."""
    kortex.config_path.unlink()
    error = kortex.until(lambda: kortex.described()["lastError"], "the problem is shown")
    assert error["message"] == f"{kortex.config_path} cannot be read: No such file or directory"
    assert answers(kortex, "old")


def test_address_is_not_changed_by_a_reload(kortex: KortexProcess, old: FakeProvider) -> None:
    """It says so, rather than to pretend."""
    changed = config(old)
    changed["gateway"]["admin"] = "127.0.0.1:1"
    kortex.write(yaml.safe_dump(changed).encode())
    error = kortex.until(lambda: kortex.described()["lastError"], "the problem is shown")
    assert "gateway.admin cannot change while the gateway runs" in error["message"]


def test_rotated_secret_is_used_by_the_next_request(tmp_path: Path, kortex: KortexProcess, old: FakeProvider) -> None:
    """The text of the config is the same; the running gateway is told nothing else."""
    key = tmp_path / "key"
    key.write_text("sk-first")
    kortex.reload(config(old, apiKey={"file": str(key)}))
    assert sent_key(kortex, old) == "Bearer sk-first"
    aside = tmp_path / "aside"
    aside.write_text("sk-second\n")
    aside.replace(key)
    kortex.until(lambda: sent_key(kortex, old) == "Bearer sk-second", "the new key is sent")
    assert "sk-" not in str(kortex.described())


def test_running_stream_finishes_on_what_it_began_with(
    kortex: KortexProcess, old: FakeProvider, new: FakeProvider
) -> None:
    """While new requests go elsewhere already."""
    old.always = SlowEvents(0.1)
    url, body = f"{kortex.base_url}/chat/completions", HELLO | {"stream": True}
    with httpx.stream("POST", url, json=body, timeout=30, trust_env=False) as stream:
        lines = stream.iter_lines()
        first = next(lines)
        kortex.reload(config(new))
        assert answers(kortex, "new")
        rest = [line for line in lines if line]
    assert first.startswith("data: {")
    assert rest[-1] == "data: [DONE]"
    assert stream.headers["x-kortex-backend"] == "old"


def test_no_request_fails_while_configs_come_and_go(
    kortex: KortexProcess, old: FakeProvider, new: FakeProvider
) -> None:
    """Two workers, two clients that never pause, thirty reloads."""
    failures: list[str] = []
    answered: set[str] = set()
    stop = threading.Event()

    def load() -> None:
        with httpx.Client(timeout=20, trust_env=False) as client:
            while not stop.is_set():
                reply = client.post(f"{kortex.base_url}/chat/completions", json=HELLO)
                if reply.status_code != 200:
                    failures.append(reply.text)
                answered.add(reply.headers.get("x-kortex-backend", "nobody"))

    clients = [threading.Thread(target=load) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for number in range(30):
            kortex.reload(config((new, old)[number % 2], contextWindow=number + 1_000))
    finally:
        stop.set()
        for client in clients:
            client.join(30)
    assert failures == []
    assert answered == {"old", "new"}


def test_admin_listener_shows_the_gateway(kortex: KortexProcess, old: FakeProvider) -> None:
    """Counts of all workers together, Envoy's own, and no secret."""
    kortex.reload(config(old, apiKey={"env": "KEY"}))
    answered = 'kortex_attempts_total{backend="old",outcome="answered"}'
    before = kortex.metrics().get(answered, 0)
    for _ in range(8):
        assert sent_key(kortex, old) == f"Bearer {KEY}"
    kortex.until(lambda: kortex.metrics().get(answered) == before + 8, "every attempt is counted")
    assert kortex.metrics()["kortex_workers_serving"] == 2
    assert kortex.metrics()["kortex_envoy_up"] == 1
    with httpx.Client(base_url=kortex.admin_url, trust_env=False) as admin:
        assert admin.get("/healthz").text == "ok\n"
        assert admin.get("/readyz").json() == {
            "ready": True,
            "conditions": {"config": True, "workers": True, "envoy": True, "accepting": True},
        }
        assert "envoy_" in admin.get("/metrics/envoy").text
        assert admin.get("/nothing").status_code == 404
        assert KEY not in admin.get("/config").text
    assert KEY not in kortex.stdout + kortex.stderr
