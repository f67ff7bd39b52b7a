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


def answering(kortex: KortexProcess) -> str:
    """The backend that answers now."""
    return ask(kortex).headers["x-kortex-backend"]


@pytest.fixture
def old() -> Iterator[FakeProvider]:
    """What is served at first."""
    with FakeProvider(name="old") as fake:
        yield fake


@pytest.fixture
def new() -> Iterator[FakeProvider]:
    """What is served later."""
    with FakeProvider(name="new") as fake:
        yield fake


def test_saved_config_serves_within_a_second(old: FakeProvider, new: FakeProvider) -> None:
    """On the same process, and counted; what the fastest of three takes is what the gateway needs."""
    with KortexProcess(config(old)) as kortex:
        taken = []
        for fake in (new, old, new):
            begun = time.monotonic()
            kortex.write(config(fake))
            kortex.until(lambda name=fake.name: answering(kortex) == name, f"{fake.name} answers")
            taken.append(time.monotonic() - begun)
        assert min(taken) < 1.0
        described = kortex.described()
        assert described["number"] == 4
        assert described["reloads"] == {"accepted": 3, "rejected": 0}
        assert described["config"]["backends"]["new"]["url"] == new.url
        assert kortex.metrics()["kortex_config_number"] == 4


def test_swapped_link_takes_effect(tmp_path: Path, old: FakeProvider, new: FakeProvider) -> None:
    """As Kubernetes updates a mounted ConfigMap."""
    for version, fake in (("..1", old), ("..2", new)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "kortex.yaml").write_text(yaml.safe_dump(config(fake)))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "kortex.yaml").symlink_to("..data/kortex.yaml")
    with KortexProcess(config_path=tmp_path / "kortex.yaml") as kortex:
        assert answering(kortex) == "old"
        (tmp_path / "..next").symlink_to("..2")
        (tmp_path / "..next").replace(tmp_path / "..data")
        kortex.until(lambda: answering(kortex) == "new", "the new config serves")


def test_broken_config_changes_nothing_and_is_shown(old: FakeProvider, new: FakeProvider) -> None:
    """In the log, at /config and in the metrics; mending it is all it takes."""
    with KortexProcess(config(old)) as kortex:
        kortex.write(b"backends: {a: {provider: opnai}}")
        error = kortex.until(lambda: kortex.described()["lastError"], "the problem is shown")
        assert 'did you mean "openai"?' in error["message"]
        assert 'did you mean "openai"?' in kortex.stderr
        assert answering(kortex) == "old"
        assert kortex.ready()
        metrics = kortex.metrics()
        assert metrics['kortex_config_reloads_total{result="rejected"}'] == 1
        assert metrics["kortex_config_rejected"] == 1
        assert metrics["kortex_config_number"] == 1
        kortex.reload(config(new))
        assert answering(kortex) == "new"
        assert kortex.described()["lastError"] is None


def test_missing_config_changes_nothing_and_is_shown(old: FakeProvider) -> None:
    """Deleted by mistake."""
    with KortexProcess(config(old)) as kortex:
        kortex.config_path.unlink()
        error = kortex.until(lambda: kortex.described()["lastError"], "the problem is shown")
        assert error["message"] == f"{kortex.config_path} cannot be read: No such file or directory"
        assert answering(kortex) == "old"


def test_address_is_not_changed_by_a_reload(old: FakeProvider) -> None:
    """It says so, rather than to pretend."""
    with KortexProcess(config(old)) as kortex:
        changed = config(old)
        changed["gateway"]["admin"] = "127.0.0.1:1"
        kortex.write(yaml.safe_dump(changed).encode())
        error = kortex.until(lambda: kortex.described()["lastError"], "the problem is shown")
        assert "gateway.admin cannot change while the gateway runs" in error["message"]


def test_rotated_secret_is_used_by_the_next_request(tmp_path: Path, old: FakeProvider) -> None:
    """The text of the config is the same; the running gateway is told nothing else."""
    key = tmp_path / "key"
    key.write_text("sk-first")
    with KortexProcess(config(old, apiKey={"file": str(key)})) as kortex:
        ask(kortex)
        assert old.requests[-1].headers["authorization"] == "Bearer sk-first"
        aside = tmp_path / "aside"
        aside.write_text("sk-second\n")
        aside.replace(key)

        def sent() -> bool:
            ask(kortex)
            return old.requests[-1].headers["authorization"] == "Bearer sk-second"

        kortex.until(sent, "the new key is sent")
        assert "sk-" not in str(kortex.described())


def test_running_stream_finishes_on_what_it_began_with(old: FakeProvider, new: FakeProvider) -> None:
    """While new requests go elsewhere already."""
    old.always = SlowEvents(0.1)
    with KortexProcess(config(old)) as kortex:
        url, body = f"{kortex.base_url}/chat/completions", HELLO | {"stream": True}
        with httpx.stream("POST", url, json=body, timeout=30, trust_env=False) as stream:
            lines = stream.iter_lines()
            first = next(lines)
            kortex.reload(config(new))
            assert answering(kortex) == "new"
            rest = [line for line in lines if line]
        assert first.startswith("data: {")
        assert rest[-1] == "data: [DONE]"
        assert stream.headers["x-kortex-backend"] == "old"


def test_no_request_fails_while_configs_come_and_go(old: FakeProvider, new: FakeProvider) -> None:
    """Two workers, two clients that never pause, twenty reloads."""
    failures: list[str] = []
    answered: list[str] = []
    stop = threading.Event()
    with KortexProcess(config(old), workers=2) as kortex:

        def load() -> None:
            with httpx.Client(timeout=20, trust_env=False) as client:
                while not stop.is_set():
                    reply = client.post(f"{kortex.base_url}/chat/completions", json=HELLO)
                    if reply.status_code != 200:
                        failures.append(reply.text)
                    answered.append(reply.headers.get("x-kortex-backend", "nobody"))

        clients = [threading.Thread(target=load) for _ in range(2)]
        for client in clients:
            client.start()
        try:
            for number in range(20):
                kortex.reload(config((new, old)[number % 2], contextWindow=number + 1))
        finally:
            stop.set()
            for client in clients:
                client.join(30)
        assert kortex.described()["number"] == 21
    assert failures == []
    assert {"old", "new"} <= set(answered)


def test_admin_listener_shows_the_gateway(old: FakeProvider) -> None:
    """Counts of all workers together, Envoy's own, and no secret."""
    with KortexProcess(config(old, apiKey={"env": "KEY"}), env={"KEY": "sk-of-a-test"}, workers=2) as kortex:
        for _ in range(8):
            assert ask(kortex).status_code == 200
        with httpx.Client(base_url=kortex.admin_url, trust_env=False) as admin:
            assert admin.get("/healthz").text == "ok\n"
            assert admin.get("/readyz").json() == {
                "ready": True,
                "conditions": {"config": True, "workers": True, "envoy": True, "accepting": True},
            }
            assert "envoy_" in admin.get("/metrics/envoy").text
            assert admin.get("/nothing").status_code == 404
            assert "sk-of-a-test" not in admin.get("/config").text
        kortex.until(
            lambda: kortex.metrics().get('kortex_attempts_total{backend="old",outcome="answered"}') == 8,
            "every attempt is counted",
        )
        metrics = kortex.metrics()
        assert metrics["kortex_workers_serving"] == 2
        assert metrics["kortex_envoy_up"] == 1
