"""A gateway that keeps books of every kind, the providers behind it, and a look at all books after each request."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx

from extproc.admission.keyring import hash_secret, spell_hash
from tests.envoy.bill_sources import Seen, usage_of
from tests.envoy.kortex_process import KortexProcess
from tests.fakes import FakeProvider
from tests.fakes.anthropic_provider import FakeAnthropic
from tests.fakes.azure_provider import FakeAzure
from tests.fakes.bedrock_provider import CREDENTIALS, FakeBedrock
from tests.fakes.cohere_provider import FakeCohere
from tests.fakes.compatible_provider import WORDINGS, FakeCompatible
from tests.fakes.gemini_provider import FakeGemini, FakeVertex
from tests.fakes.google_tokens import FakeGoogleTokens
from tests.fakes.mistral_provider import FakeMistral
from tests.fakes.raw_client import RawClient

CONFIG: Final = """
gateway: {{retries: {{backoff: 20ms, perBackend: 0}}, circuitBreaker: {{enabled: false}}}}
keys:
  - {{name: till, hash: "{hash}", tenant: shop}}
  - {{name: short, hash: "{short}", tenant: shop}}
# Far above what is spent; streams that say more than 10 tokens reserve again and again, and give all of it back.
budgets:
  - {{name: dollars, per: tenant, amount: "1000000", window: total, estimator: &little {{cap: 10}}}}
  - {{name: euros, per: tenant, amount: "1000000", currency: EUR, window: total, estimator: *little}}
  - {{name: tokens, per: tenant, tokens: 1000000000000, window: total, estimator: *little}}
  - {{name: short, per: [key, model], match: {{key: short}}, tokens: 100, window: total, estimator: *little}}
ledger: {{url: "sqlite:///{books}/usage.db"}}
quota: {{url: "sqlite:///{books}/quota.db"}}
backends:
  openai: {{provider: openai, url: "{openai}", model: gpt-4o, apiKey: {{env: KEY}}}}
  claude: {{provider: anthropic, url: "{claude}", model: claude-sonnet-4-5, apiKey: {{env: KEY}}}}
  gemini: {{provider: gemini, url: "{gemini}", model: gemini-2.5-flash, apiKey: {{env: KEY}}}}
  bedrock: {{provider: bedrock, region: us-east-1, url: "{bedrock}", model: "{sonnet}"}}
  cohere: {{provider: cohere, url: "{cohere}", model: command-a-03-2025, apiKey: {{env: KEY}}}}
  azure: {{provider: azure, url: "{azure}", model: gpt-4o, apiVersion: 2024-10-21, apiKey: {{env: KEY}}}}
  mistral: {{provider: mistral, url: "{mistral}", model: mistral-large-2512, apiKey: {{env: KEY}}}}
  vertex: &vertex
    {{provider: vertex, url: "{vertex}", project: fake-project, credentialsFile: "{file}", model: gemini-2.5-flash}}
  vertex-claude: {{<<: *vertex, url: "{vertex_claude}", model: claude-sonnet-4-5@20250929}}
  own:
    provider: vllm
    url: "{own}"
    model: own-model
    cost: &cost
      {{inputTokenCost: "0.0011", outputTokenCost: "0.0033", cachedInputTokenCost: "0.0007", requestCost: "0.01",
      imageCost: "0.0201", serviceTiers: {{batch: "0.5"}}, currency: EUR}}
  deepseek: {{provider: deepseek, url: "{deepseek}", model: deepseek-chat, apiKey: {{env: KEY}}, cost: *cost}}
  groq: {{provider: groq, url: "{groq}", model: gpt-oss, apiKey: {{env: KEY}}, cost: *cost}}
  ollama: {{provider: ollama, url: "{ollama}", model: qwen3, cost: *cost}}
  together: {{provider: together, url: "{together}", model: kimi, apiKey: {{env: KEY}}, cost: *cost}}
  xai: {{provider: xai, url: "{xai}", model: grok-3-mini, apiKey: {{env: KEY}}, cost: *cost}}
  local: {{provider: vllm, url: "{own}", model: local-model}}
  strict: {{provider: vllm, url: "{own}", model: strict-model, unpriced: reject}}
  default:
    {{provider: vllm, url: "{own}", model: unheard, unpriced: {{inputTokenCost: "0.5", outputTokenCost: "1"}}}}
  demo: {{provider: demo}}
routes:
{routes}  own: {{models: [own], defaultBackend: {{name: own}}, fallback: {{backends: [openai]}}, timeouts: {times}}}
  local: {{models: [local], defaultBackend: {{name: local}}}}
  strict: {{models: [strict], defaultBackend: {{name: strict}}}}
  strict-pair: {{models: [strict-pair], defaultBackend: {{name: strict}}, fallback: {{backends: [own]}}}}
  default: {{models: [default], defaultBackend: {{name: default}}}}
  demo: {{models: [kortex-demo], defaultBackend: {{name: demo}}}}
"""
SHORT_TIMES: Final = "{firstToken: 1s, unstreamed: 1s, idle: 1s}"
ROUTE: Final = """\
  {name}: {{models: [{name}], defaultBackend: {{name: {name}}}, fallback: {{backends: [own]}}, timeouts: {times}}}
"""
KEY: Final = "sk-of-the-gateway"
SECRET: Final = "kx-the-secret-of-the-till"
SHORT: Final = "kx-the-secret-of-who-has-little"
SONNET: Final = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
AWS: Final = {
    "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
    "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key,
    "AWS_SESSION_TOKEN": str(CREDENTIALS.token),
}


class Till:
    """The gateway, the providers behind it, and everything that was seen so far. ``books`` has the databases."""

    def __init__(self, gateway: KortexProcess, fakes: Mapping[str, FakeProvider], books: Path) -> None:
        self.gateway = gateway
        self.fakes = fakes
        self.books = books
        self.seen: list[Seen] = []
        self.port = urlsplit(gateway.origin).port or 0

    def body(self, model: str, text: str = "hello there", *, stream: bool = False, **fields: Any) -> dict[str, Any]:
        """A chat call; a streamed one asks for usage."""
        options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        return {"model": model, "messages": [{"role": "user", "content": text}], **options, **fields}

    def chat(self, model: str, *, attempts: int = 1, secret: str = SECRET, **fields: Any) -> Seen:
        """A client that reads to the end."""
        body = self.body(model, **fields)
        before = self._now()
        try:
            reply = self.post(body, secret)
        except httpx.RemoteProtocolError:  # a stream that was cut
            return self._seen(before, attempts, None)
        return self._seen(before, attempts, reply)

    def post(self, body: Mapping[str, Any], secret: str = SECRET) -> httpx.Response:
        """With one of the keys."""
        url = f"{self.gateway.base_url}/chat/completions"
        headers = {"authorization": f"Bearer {secret}"}
        return httpx.post(url, json=body, headers=headers, trust_env=False, timeout=30)

    def leave(self, model: str, *, sent: int, until: bytes = b"", **fields: Any) -> Seen:
        """A client that goes when the provider is at work, or when it has read ``until``."""
        body = self.body(model, **fields)
        before = self._now()
        fake = self.fakes[model]
        with RawClient(self.port) as client:
            client.post("/v1/chat/completions", body, f"authorization: Bearer {SECRET}")
            fake.wait_for(lambda fake: any(request.bytes_sent >= sent for request in fake.requests))
            if until:
                client.read_until(until)
        return self._seen(before, 1, None)

    def counters(self) -> dict[str, int]:
        """What the counters of the budgets for all hold, when nothing is reserved any more."""
        outstanding = "SELECT id FROM reservation UNION SELECT owner FROM share"
        self.gateway.until(lambda: not self.rows("quota.db", outstanding), "all is settled and given back")
        rows = self.rows("quota.db", "SELECT counter, used, held FROM counted WHERE slot >= 0")
        assert not [row for row in rows if row["held"]], rows
        counters = {tuple(str(row["counter"]).split("/")[2:4]): row["used"] for row in rows}
        return {unit: used for (name, unit), used in counters.items() if name != "short"}

    def rows(self, file: str, statement: str) -> list[dict[str, Any]]:
        """Of one of the databases, as another program sees them."""
        with contextlib.closing(sqlite3.connect(self.books / file, timeout=5)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(statement)]

    def _now(self) -> _Before:
        return _Before(metrics=self.gateway.metrics(), lines=len(self.gateway.access_log), counters=self.counters())

    def _seen(self, before: _Before, attempts: int, reply: httpx.Response | None) -> Seen:
        def lines() -> list[dict[str, Any]]:
            return self.gateway.access_log[before.lines :]

        self.gateway.until(lambda: len(lines()) >= attempts, f"{attempts} attempts are logged")
        self.gateway.until(lambda: self.gateway.metrics() != before.metrics, "they are counted")
        seen = Seen(
            headers={} if reply is None else dict(reply.headers),
            usage=None if reply is None else usage_of(reply),
            chunked=reply is not None and reply.headers["content-type"].startswith("text/event-stream"),
            lines=lines(),
            grown=_grown(before.metrics, self.gateway.metrics()),
            counted=_grown(before.counters, self.counters()),
        )
        self.seen.append(seen)
        return seen


_Number = TypeVar("_Number", int, float)


def _grown(before: Mapping[str, _Number], now: Mapping[str, _Number]) -> dict[str, _Number]:
    return {name: value - before.get(name, 0) for name, value in now.items() if value != before.get(name, 0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Before:
    """The books before a request."""

    metrics: dict[str, float]
    lines: int
    counters: dict[str, int]


@contextlib.contextmanager
def open_till(books: Path) -> Iterator[Till]:
    """Started once for many tests: one worker, so that what it settles is settled in order."""
    with contextlib.ExitStack() as stack:
        google = stack.enter_context(FakeGoogleTokens())
        fakes = {fake.name: stack.enter_context(fake) for fake in _fakes(google)}
        config = CONFIG.format(
            **{name.replace("-", "_"): fake.base_url for name, fake in fakes.items()},
            routes="".join(ROUTE.format(name=name, times=SHORT_TIMES) for name in fakes if name != "own"),
            times=SHORT_TIMES,
            sonnet=SONNET,
            file=google.write_service_account(books / "google.json"),
            hash=spell_hash(hash_secret(SECRET)),
            short=spell_hash(hash_secret(SHORT)),
            books=books,
        )
        gateway = stack.enter_context(KortexProcess(config, env={"KEY": KEY, **AWS}))
        yield Till(gateway, fakes, books)


def _fakes(google: FakeGoogleTokens) -> Iterator[FakeProvider]:
    """Each by the name of its backend and route."""
    yield FakeProvider(name="openai", api_key=KEY, served_model="gpt-4o-2024-08-06")
    yield FakeAnthropic(name="claude", api_key=KEY, served_model="claude-sonnet-4-5-20250929")
    yield FakeGemini(name="gemini", api_key=KEY)
    yield FakeBedrock(name="bedrock")
    yield FakeCohere(name="cohere", api_key=KEY)
    yield FakeAzure(name="azure", api_key=KEY, deployments=["gpt-4o"])
    yield FakeMistral(name="mistral", api_key=KEY, served_model="mistral-large-2512")
    yield FakeVertex(name="vertex", tokens=lambda: google.given)
    yield FakeVertex(name="vertex-claude", tokens=lambda: google.given)
    yield FakeProvider(name="own")
    for name in WORDINGS:
        yield FakeCompatible(name=name, api_key=None if name == "ollama" else KEY)
