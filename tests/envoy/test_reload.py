"""Reloads: new requests are served by the new config, running ones finish as they began, a broken one is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import orjson
import pytest

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import FakeProvider, SlowEvents, Status

KEYS = {"KEY": "sk-of-the-fakes"}
RELOADS = 100


def config(url: str, *, model: str = "first", extra: str = "") -> str:
    """One backend at ``url``; ``model`` is what it is asked for."""
    return f"""
backends:
  only: {{provider: openai, url: "{url}", model: {model}, apiKey: {{env: KEY}}}}
routes:
  only: {{models: [m{extra}], defaultBackend: {{name: only}}}}
"""


def chat(gateway: KortexProcess, model: str = "m", *, stream: bool = False) -> httpx.Response:
    """One call."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": stream}
    return httpx.post(f"{gateway.base_url}/chat/completions", json=body, timeout=30)


@pytest.fixture
def fakes() -> Iterator[tuple[FakeProvider, FakeProvider]]:
    """Two providers."""
    with FakeProvider(name="a", api_key=KEYS["KEY"]) as a, FakeProvider(name="b", api_key=KEYS["KEY"]) as b:
        yield a, b


def wait_until(condition: object, seconds: float = 10) -> None:
    """Poll ``condition()`` until it holds."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def test_no_request_fails_when_the_config_changes_a_hundred_times(fakes: tuple[FakeProvider, FakeProvider]) -> None:
    """Addresses, models and routes change under eight clients, streamed and not; each reply is whole."""
    a, b = fakes
    with KortexProcess(config(a.url), env=KEYS, workers=2) as gateway:
        stop = threading.Event()

        def client(stream: bool) -> list[tuple[int, str]]:
            seen: list[tuple[int, str]] = []
            while not stop.is_set():
                reply = chat(gateway, stream=stream)
                whole = reply.content.endswith(b"[DONE]\n\n") if stream else b"says: hello" in reply.content
                seen.append((reply.status_code if whole else 0, reply.text))
            return seen

        with ThreadPoolExecutor(8) as clients:
            running = [clients.submit(client, index % 2 == 0) for index in range(8)]
            try:
                for number in range(RELOADS):
                    fake = (a, b)[number % 2]
                    gateway.reload(config(fake.url, model=f"model-{number}", extra=f", extra-{number}"))
            finally:
                stop.set()
            results = [result for future in running for result in future.result(timeout=60)]
        history = gateway.described()
        assert history["number"] == RELOADS + 1
        assert history["reloads"] == {"accepted": RELOADS, "rejected": 0}
        assert [text for status, text in results if status != 200] == []
        assert len(results) > RELOADS
        assert a.requests
        assert b.requests


def test_new_requests_are_served_by_the_new_config_within_a_second(fakes: tuple[FakeProvider, FakeProvider]) -> None:
    """A stream that began before finishes where it began; nothing is restarted."""
    a, b = fakes
    a.decide = lambda request: SlowEvents(0.5) if request.json.get("stream") else None
    with KortexProcess(config(a.url), env=KEYS, workers=2) as gateway, ThreadPoolExecutor(1) as clients:
        running = clients.submit(chat, gateway, stream=True)
        a.wait_for(lambda fake: fake.active == 1)
        gateway.write(config(b.url))
        saved = time.monotonic()
        wait_until(lambda: b"b says" in chat(gateway).content)
        assert time.monotonic() - saved < 3  # a second, on a machine that may be busy with other tests
        assert a.active == 1
        whole = running.result(timeout=30)
        assert whole.content.endswith(b"data: [DONE]\n\n")
        assert whole.headers["x-kortex-backend"] == "only"


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        pytest.param("backends: [", "not YAML", id="not-yaml"),
        pytest.param("backendz: {}\n", "backendz", id="unknown-key"),
        pytest.param(
            "backends: {only: {provider: openai, apiKey: {env: ABSENT}}}\n"
            "routes: {only: {models: [m], defaultBackend: {name: only}}}\n",
            "ABSENT",
            id="secret-missing",
        ),
    ],
)
def test_broken_config_changes_nothing(fakes: tuple[FakeProvider, FakeProvider], broken: str, says: str) -> None:
    """It is logged, counted and shown; the next good one is taken."""
    a, b = fakes
    with KortexProcess(config(a.url), env=KEYS) as gateway:
        gateway.write(broken.encode())
        wait_until(lambda: gateway.described()["lastError"])
        shown = gateway.described()
        assert says in shown["lastError"]["message"]
        assert (shown["number"], shown["reloads"]["rejected"]) == (1, 1)
        assert b"a says" in chat(gateway).content
        assert "not reloaded" in gateway.stderr
        assert 'kortex_config_reloads_total{result="rejected"} 1.0' in httpx.get(f"{gateway.admin_url}/metrics").text
        gateway.reload(config(b.url))
        assert gateway.described()["lastError"] is None
        assert b"b says" in chat(gateway).content


def test_listening_address_stays_when_a_reload_would_change_it(fakes: tuple[FakeProvider, FakeProvider]) -> None:
    """What only a start can change is refused with a reason, and nothing else of that file is taken up."""
    a, b = fakes
    with KortexProcess(config(a.url), env=KEYS) as gateway:
        gateway.write(f"gateway: {{maxConnections: 7}}\n{config(b.url)}")
        wait_until(lambda: gateway.described()["lastError"])
        assert "gateway.maxConnections" in gateway.described()["lastError"]["message"]
        assert b"a says" in chat(gateway).content


def test_key_file_is_read_again_when_it_changes(fakes: tuple[FakeProvider, FakeProvider], tmp_path: object) -> None:
    """Rotating a key needs no edit of the config."""
    a, _ = fakes
    key = tmp_path / "key"  # type: ignore[operator]
    key.write_text("sk-old\n")
    text = config(a.url).replace("{env: KEY}", f"{{file: {key}}}")
    with KortexProcess(text) as gateway:
        a.api_key = "sk-new"
        assert chat(gateway).status_code == 401
        key.write_text("sk-new\n")
        wait_until(lambda: chat(gateway).status_code == 200)
        assert "sk-new" not in orjson.dumps(gateway.described()).decode()


def test_old_plan_is_walked_to_its_end_when_its_backends_are_gone(fakes: tuple[FakeProvider, FakeProvider]) -> None:
    """A request that is under way when its backends leave the config still fails over among them."""
    a, b = fakes
    both = f"""
backends:
  first: {{provider: openai, url: "{a.url}", apiKey: {{env: KEY}}}}
  second: {{provider: openai, url: "{b.url}", apiKey: {{env: KEY}}}}
routes:
  both:
    models: [m]
    defaultBackend: {{name: first}}
    fallback: {{backends: [second]}}
    retries: {{perBackend: 0}}
"""
    a.latency = 2
    a.always = Status(503)
    with KortexProcess(both, env=KEYS, workers=2) as gateway, ThreadPoolExecutor(1) as clients:
        running = clients.submit(chat, gateway)
        a.wait_for(lambda fake: fake.active == 1)
        gateway.reload(config(b.url, extra=", other"))
        reply = running.result(timeout=30)
        assert (reply.status_code, reply.headers["x-kortex-backend"]) == (200, "second")
