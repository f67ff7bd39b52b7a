"""Backends that are down: spared, probed, and back again, through four workers; health checks; concurrency caps."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import Chunking, CutAt, FakeProvider, RateLimited, Status
from tests.fakes.raw_client import RawClient

CONFIG = """
gateway: {{circuitBreaker: {{openFor: 500ms, openForAtMost: 2s}}}}
backends:
  first: {{provider: openai, url: "{a}", apiKey: {{env: KEY}}}}
  second: {{provider: openai, url: "{b}", apiKey: {{env: KEY}}}}
  alone: {{provider: custom, url: "{a}"}}
  served: {{provider: vllm, url: "{a}", healthCheck: {{interval: 100ms, failureThreshold: 2}}}}
  narrow: {{provider: custom, url: "{a}", maxConcurrency: 2}}
quota: {{url: "sqlite:///{books}/quota.db"}}
budgets: [{{name: plenty, match: {{route: counted}}, tokens: 1000000000}}]
routes:
  pair:
    models: [pair]
    defaultBackend: {{name: first}}
    fallback: {{backends: [second]}}
    retries: {{backoff: 10ms}}
  counted: {{models: [counted], defaultBackend: {{name: first}}, fallback: {{backends: [second]}}}}
  alone: {{models: [alone], defaultBackend: {{name: alone}}, retries: {{perBackend: 0}}}}
  served: {{models: [served], defaultBackend: {{name: served}}, fallback: {{backends: [second]}}}}
  narrow: {{models: [narrow], defaultBackend: {{name: narrow}}, fallback: {{backends: [second]}}}}
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """A gateway with four workers before two providers."""

    gateway: KortexProcess
    config: str
    a: FakeProvider
    b: FakeProvider
    client: httpx.Client

    def chat(self, model: str) -> httpx.Response:
        """A call, and its whole reply."""
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        return self.client.post(f"{self.gateway.base_url}/chat/completions", json=body)

    def state(self, backend: str) -> Any:
        """As ``/backends`` shows it."""
        return httpx.get(f"{self.gateway.admin_url}/backends").json()["backends"][backend]

    def recover(self, backend: str, model: str) -> None:
        """Call until the circuit is closed again; well within ten seconds, as the waits here end at two."""

        def closed() -> bool:
            self.chat(model)
            return bool(self.state(backend)["circuit"] == "closed")

        self.gateway.until(closed, f"{backend} is well", timeout=10)

    def until(self, backend: str, circuit: str) -> None:
        """Wait for a state."""
        self.gateway.until(lambda: self.state(backend)["circuit"] == circuit, f"{backend} is {circuit}")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Started once."""
    with FakeProvider(name="a") as a, FakeProvider(name="b") as b, httpx.Client(timeout=30) as client:
        config = CONFIG.format(a=a.url, b=b.base_url, books=tmp_path_factory.mktemp("books"))
        with KortexProcess(config, env={"KEY": "sk-any"}, workers=4) as gateway:
            yield Stage(gateway, config, a, b, client)


@pytest.fixture
def stage(shared: Stage) -> Stage:
    """Healthy, with nothing asked yet, and every circuit closed."""
    shared.a.healthy = True
    for fake in (shared.a, shared.b):
        fake.clear_faults()
    for backend, model in (("first", "pair"), ("alone", "alone"), ("served", "served")):
        shared.recover(backend, model)
    for fake in (shared.a, shared.b):
        fake.clear()
    return shared


def test_a_dead_provider_is_spared_by_all_workers_and_serves_again_when_it_is_back(stage: Stage) -> None:
    """Every client is answered; the dead one sees its last calls and then a probe now and then; then it is back."""
    stage.a.always = Status(503)
    dead_for, statuses = 8.0, Counter[int]()
    begun = time.monotonic()

    def one(_: int) -> None:
        statuses[stage.chat("pair").status_code] += 1

    with ThreadPoolExecutor(8) as pool:
        calls = 0
        while time.monotonic() - begun < dead_for:
            pool.submit(one, calls)
            calls += 1
            time.sleep(0.03)
    assert set(statuses) == {200}
    assert calls > 50
    # Up to five failures open it, each of them twice at the same provider, beside those just under way; then probes.
    first_second = sum(request.received_at - stage.a.requests[0].received_at < 1 for request in stage.a.requests)
    assert first_second <= 40
    assert len(stage.a.requests) - first_second <= 2 * (dead_for - 1)
    state = stage.state("first")
    assert state["circuit"] in {"open", "half_open"}
    assert state["reason"] == "overloaded"
    assert state["since"] == pytest.approx(time.time(), abs=10)
    metrics = stage.gateway.metrics()
    assert metrics['kortex_backend_circuit{backend="first",state="closed"}'] == 0
    assert metrics['kortex_backend_circuit_opened_total{backend="first"}'] >= 1

    stage.a.clear_faults()
    stage.recover("first", "pair")
    assert [stage.chat("pair").headers["x-kortex-backend"] for _ in range(8)] == ["first"] * 8


def test_one_request_at_a_time_probes_though_many_are_let_through_at_once(stage: Stage) -> None:
    """Each waits for the budget's store between the choice of its backend and its way there."""
    stage.a.always = Status(503)
    for _ in range(6):
        stage.chat("counted")
    stage.until("first", "open")
    stage.a.clear_faults()
    stage.a.clear()
    stage.a.latency = 2.0
    try:
        with ThreadPoolExecutor(48) as pool:
            while not stage.a.requests:
                for _ in range(48):
                    pool.submit(stage.chat, "counted")
                time.sleep(0.1)
            time.sleep(1.0)
            probes = len(stage.a.requests)
    finally:
        stage.a.latency = 0.0
    assert probes == 1
    stage.recover("first", "pair")


def test_a_retry_after_spares_the_backend_for_that_long(stage: Stage) -> None:
    """The provider asked for it: one refusal is enough."""
    stage.a.script = [RateLimited(retry_after=30), RateLimited(retry_after=30)]
    assert stage.chat("pair").headers["x-kortex-trail"].startswith("first=rate_limited")
    stage.until("first", "open")
    stage.a.clear()
    replies = [stage.chat("pair").headers["x-kortex-backend"] for _ in range(8)]
    assert replies == ["second"] * 8
    assert stage.a.requests == []
    # What the provider asked for outlives this test: switching the breaker off and on closes it.
    stage.gateway.reload(stage.config.replace("openFor: 500ms", "enabled: false, openFor: 500ms"))
    stage.until("first", "closed")
    stage.gateway.reload(stage.config)


def test_a_provider_that_cuts_its_answers_is_spared(stage: Stage) -> None:
    """Its attempts end without a word; that the next backend is asked tells that it was not the client who left."""
    stage.a.always = CutAt(100, "reset", pause=0.05)
    for _ in range(5):
        assert stage.chat("pair").status_code == 200
    stage.until("first", "open")
    assert stage.state("first")["reason"] == "reset"


def test_clients_that_leave_within_an_answer_say_nothing_of_its_provider(stage: Stage) -> None:
    """Whoever looks at one attempt alone cannot tell them from a provider that breaks off."""
    stage.a.always = Chunking((60,), pause=0.2)
    for _ in range(8):
        stage.a.clear()
        with RawClient(int(stage.gateway.origin.rpartition(":")[2])) as client:
            client.post("/v1/chat/completions", {"model": "pair", "messages": [{"role": "user", "content": "hello"}]})
            stage.a.wait_for(lambda fake: any(request.bytes_sent >= 60 for request in fake.requests))
    stage.gateway.until(lambda: stage.state("first")["inFlight"] == 0, "nobody is asked any more")
    assert stage.state("first")["circuit"] == "closed"
    assert not stage.b.requests


def test_a_backend_without_another_is_asked_although_its_circuit_is_open(stage: Stage) -> None:
    """An open circuit goes to the end of the plan, never out of it; and the client's own mistakes open nothing."""
    stage.a.always = Status(400, b'{"error": {"message": "no", "type": "invalid_request_error"}}')
    for _ in range(8):
        assert stage.chat("alone").status_code == 400
    assert stage.state("alone")["circuit"] == "closed"
    stage.a.always = Status(500)
    for _ in range(6):
        assert stage.chat("alone").status_code == 500
    stage.until("alone", "open")
    stage.a.clear_faults()
    assert stage.chat("alone").status_code == 200


def test_a_server_that_fails_its_health_check_is_asked_last(stage: Stage) -> None:
    """Without a single request having failed; and first again once it passes."""
    assert stage.chat("served").headers["x-kortex-backend"] == "served"
    stage.a.healthy = False
    stage.until("served", "open")
    assert stage.state("served")["reason"] == "health check: no 200 from /health"
    assert stage.chat("served").headers["x-kortex-backend"] == "second"
    stage.a.healthy = True
    stage.until("served", "closed")
    stage.gateway.until(lambda: stage.chat("served").headers["x-kortex-backend"] == "served", "it serves")


def test_what_is_over_a_backend_s_concurrency_goes_to_the_next(stage: Stage) -> None:
    """Two at once here; the others do not wait."""
    stage.a.latency = 1.0
    try:
        with ThreadPoolExecutor(6) as pool:
            replies = list(pool.map(lambda _: stage.chat("narrow"), range(6)))
    finally:
        stage.a.latency = 0.0
    assert [reply.status_code for reply in replies] == [200] * 6
    backends = Counter(reply.headers["x-kortex-backend"] for reply in replies)
    assert backends == {"narrow": 2, "second": 4}
    assert {reply.headers.get("x-kortex-trail", "narrow=overloaded").partition(";")[0] for reply in replies} == {
        "narrow=overloaded"
    }


def test_requests_under_way_are_counted_over_all_workers(stage: Stage) -> None:
    """While they last, and not after."""
    stage.a.latency = 2.0
    try:
        threads = [threading.Thread(target=stage.chat, args=("alone",)) for _ in range(5)]
        for thread in threads:
            thread.start()
        stage.gateway.until(lambda: stage.state("alone")["inFlight"] == 5, "five are under way")
        for thread in threads:
            thread.join()
    finally:
        stage.a.latency = 0.0
    stage.gateway.until(lambda: stage.state("alone")["inFlight"] == 0, "none is under way")
