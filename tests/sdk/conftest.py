"""A gateway in front of one fake provider, with the embedded demo beside it; clients of both, to compare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import openai
import pytest

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import FakeProvider

KEY = "sk-of-the-provider"
CONFIG = """
backends:
  fake: {{provider: openai, url: "{url}", apiKey: {{env: KEY}}}}
  dead: {{provider: custom, url: "http://127.0.0.1:9"}}
  demo: {{provider: demo}}
routes:
  all:
    models: [gpt-test, "text-embedding-*"]
    defaultBackend: {{name: fake}}
    retries: {{perBackend: 0}}
    timeouts: {{idle: 2s}}
  second: {{models: [gpt-second], defaultBackend: {{name: dead}}, fallback: {{backends: [fake]}}}}
  demo: {{models: [kortex-demo], defaultBackend: {{name: demo}}}}
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """``client`` talks to the gateway, ``direct`` to the provider; both official, neither retries by itself."""

    gateway: KortexProcess
    fake: FakeProvider
    client: openai.OpenAI
    direct: openai.OpenAI

    @property
    def base_url(self) -> str:
        """The gateway's."""
        return self.gateway.base_url


@pytest.fixture(scope="module")
def shared_bench() -> Iterator[Bench]:
    """Started once a module; use ``bench``."""
    with (
        FakeProvider(name="fake", api_key=KEY, served_model="gpt-test-2026-01-01") as fake,
        KortexProcess(CONFIG.format(url=fake.url), env={"KEY": KEY}, workers=2) as gateway,
        openai.OpenAI(base_url=gateway.base_url, api_key="client-key", max_retries=0) as client,
        openai.OpenAI(base_url=fake.url, api_key=KEY, max_retries=0) as direct,
    ):
        yield Bench(gateway, fake, client, direct)


@pytest.fixture
def bench(shared_bench: Bench) -> Bench:
    """A healthy provider that has not been asked anything yet."""
    shared_bench.fake.clear_faults()
    shared_bench.fake.clear()
    return shared_bench
