"""A gateway with two workers in front of three fake providers, shared by the tests of one module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.envoy.kortex_process import KortexProcess
from tests.envoy.till import Till, open_till
from tests.fakes import FakeProvider

CONFIG = """
# Each test wants its providers asked, whatever the one before did to them.
gateway: {{bodyLimit: 24MiB, circuitBreaker: {{enabled: false}}}}
backends:
  a: {{provider: openai, url: "{a}", model: a-model, apiKey: {{env: KEY_A}}, contextWindow: 8192}}
  b: {{provider: openai, url: "{b}", model: b-model, apiKey: {{env: KEY_B}}}}
  c: {{provider: custom, url: "{c}", apiKey: {{env: KEY_C}}, contextWindow: 4096}}
  roomy: {{provider: openai, url: "{a}", model: a-model, apiKey: {{env: KEY_A}}}}
routes:
  pair:
    models: [pair]
    defaultBackend: {{name: a}}
    fallback: {{backends: [b]}}
    timeouts: &short {{connect: 1s, firstToken: 1s, unstreamed: 1s, idle: 1s}}
    retries: &quick {{backoff: 20ms}}
  three:
    models: [three]
    defaultBackend: {{name: a}}
    fallback: {{backends: [c, b]}}
    timeouts: *short
    retries: *quick
  alone: {{models: [alone], defaultBackend: {{name: a}}, timeouts: *short, retries: *quick}}
  patient: {{models: [patient], defaultBackend: {{name: a}}, fallback: {{backends: [b]}}}}
  hurried: {{models: [hurried], defaultBackend: {{name: a}}, fallback: {{backends: [b]}}, timeouts: {{total: 1s}}}}
  once: {{models: [once], defaultBackend: {{name: a}}, fallback: {{backends: [b]}}, retries: {{perBackend: 0}}}}
  thrice:
    models: [thrice]
    defaultBackend: {{name: a}}
    fallback: {{backends: [b]}}
    retries: {{perBackend: 3, backoff: 20ms}}
  large: {{models: [large], defaultBackend: {{name: roomy}}, fallback: {{backends: [b]}}, retries: *quick}}
  through: {{models: ["through*"], defaultBackend: {{name: c}}}}
"""
KEYS = {"KEY_A": "sk-a-of-provider-a", "KEY_B": "sk-b-of-provider-b", "KEY_C": "sk-c-of-provider-c"}


@dataclass(frozen=True, slots=True)
class Stage:
    """The gateway and the providers behind it."""

    gateway: KortexProcess
    a: FakeProvider
    b: FakeProvider
    c: FakeProvider

    @property
    def providers(self) -> tuple[FakeProvider, ...]:
        """All three."""
        return (self.a, self.b, self.c)

    def post(self, body: dict[str, Any], path: str = "/chat/completions", **headers: str) -> httpx.Response:
        """A client's request, with a new connection, and its whole reply."""
        url = f"{self.gateway.base_url}{path}"
        return httpx.post(url, json=body, headers={"authorization": "Bearer client-key", **headers}, timeout=30)

    def chat(self, model: str, text: str = "hello", **fields: Any) -> httpx.Response:
        """A chat call."""
        return self.post({"model": model, "messages": [{"role": "user", "content": text}], **fields})

    def asked(self) -> list[str]:
        """Which provider was asked how often: ``["a", "a", "b"]``."""
        return [fake.name for fake in self.providers for _ in fake.requests]


@pytest.fixture(scope="module")
def shared_stage() -> Iterator[Stage]:
    """Started once a module; use ``stage``."""
    with (
        FakeProvider(name="a", api_key=KEYS["KEY_A"]) as a,
        FakeProvider(name="b", api_key=KEYS["KEY_B"]) as b,
        FakeProvider(name="c", api_key=KEYS["KEY_C"]) as c,
        KortexProcess(CONFIG.format(a=a.url, b=b.base_url, c=c.url), env=KEYS, workers=2) as gateway,
    ):
        yield Stage(gateway, a, b, c)


@pytest.fixture
def stage(shared_stage: Stage) -> Stage:
    """Healthy providers that have not been asked anything yet."""
    for fake in shared_stage.providers:
        fake.clear_faults()
        fake.clear()
    return shared_stage


@pytest.fixture(scope="module")
def shared_till(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Till]:
    """Started once; use ``till``."""
    with open_till(tmp_path_factory.mktemp("books")) as till:
        yield till


@pytest.fixture
def till(shared_till: Till) -> Till:
    """Healthy providers that have not been asked."""
    for fake in shared_till.fakes.values():
        fake.clear_faults()
        fake.clear()
    return shared_till
