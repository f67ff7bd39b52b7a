"""What operators see at the admin listener."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.registry import Collector

from extproc.bootstrap.process import EnvoyError
from extproc.config.load import load
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.ledger.question import BadQuestion, LedgerUnavailable
from extproc.providers.registry import PROVIDERS, SETTINGS
from extproc.routing.health import BackendState, Circuit
from extproc.server.addresses import listen, spell_address
from extproc.server.admin import AdminServer, Operated, admin_application

READY = {"config": True, "workers": True}


def snapshot() -> Snapshot:
    """A route with a rule."""
    text = b"""
backends:
  first: {provider: custom, url: "http://first.test/v1", model: first-model, apiKey: {env: FIRST}}
  second: {provider: custom, url: "http://second.test/v1"}
routes:
  all:
    models: ["*"]
    rules: [{name: streams, match: {stream: true}, backends: [{name: second}]}]
    defaultBackend: {name: first}
"""
    config = load(text, SETTINGS).config
    secret = {name: (lambda: "sk-secret") for name in config.backends}
    return compile_snapshot(config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials=secret)


class Gateway:
    """What is operated, as a test wants it."""

    def __init__(self) -> None:
        self.conditions: Mapping[str, bool] = READY
        self.description: Mapping[str, Any] = {"number": 3}
        self.registry = CollectorRegistry()
        self.statistics: str | None = "envoy_up 1\n"
        self.degraded: Mapping[str, str] = {}
        self.usage: Callable[[Mapping[str, str]], Mapping[str, Any]] | None = None

    async def ready(self) -> Mapping[str, bool]:
        return self.conditions

    async def envoy(self) -> str:
        if self.statistics is None:
            raise EnvoyError("its admin interface does not answer")
        return self.statistics

    def operated(self, *, with_envoy: bool = True) -> Operated:
        return Operated(
            ready=self.ready,
            describe=lambda: self.description,
            backends=lambda: {"backends": {"a": {"circuit": "open", "reason": "timeout"}}},
            registry=self.registry,
            snapshot=snapshot,
            states=lambda: {"first": BackendState(circuit=Circuit.OPEN)},
            envoy=self.envoy if with_envoy else None,
            degraded=lambda: self.degraded,
            usage=self.usage,
        )

    def client(self, *, with_envoy: bool = True) -> httpx.AsyncClient:
        """Asks the application without a socket."""
        transport = httpx.ASGITransport(admin_application(self.operated(with_envoy=with_envoy)))
        return httpx.AsyncClient(transport=transport, base_url="http://admin")


@pytest.fixture
def gateway() -> Gateway:
    """Everything in order."""
    return Gateway()


async def test_backends_are_shown_with_their_states(gateway: Gateway) -> None:
    """As the board has them."""
    async with gateway.client() as client:
        shown = (await client.get("/backends")).json()
    assert shown == {"backends": {"a": {"circuit": "open", "reason": "timeout"}}}


async def test_alive_is_said_whatever_else_is_wrong(gateway: Gateway) -> None:
    """An orchestrator restarts what is not alive: being unready is no reason."""
    gateway.conditions = {"config": True, "workers": False}
    async with gateway.client() as client:
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        pytest.param(READY, 200, id="all"),
        pytest.param({"config": True, "workers": False}, 503, id="all but one"),
    ],
)
async def test_readiness_names_each_condition(gateway: Gateway, conditions: dict[str, bool], status: int) -> None:
    """So that the one that is missing is seen at once."""
    gateway.conditions = conditions
    async with gateway.client() as client:
        reply = await client.get("/readyz")
    assert reply.status_code == status
    assert reply.json() == {"ready": status == 200, "conditions": conditions}


async def test_config_is_what_is_described_now(gateway: Gateway) -> None:
    """Not what was described at the start."""
    async with gateway.client() as client:
        assert (await client.get("/config")).json() == {"number": 3}
        gateway.description = {"number": 4}
        assert (await client.get("/config")).json() == {"number": 4}


async def test_metrics_are_prometheus_text(gateway: Gateway) -> None:
    """In the format of the scraper's choice."""
    Counter("kortex_tests", "Tests.", registry=gateway.registry).inc()
    async with gateway.client() as client:
        plain = await client.get("/metrics")
        modern = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "kortex_tests_total 1.0\n" in plain.text
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    assert modern.text.endswith("# EOF\n")


async def test_health_is_answered_while_metrics_are_collected(gateway: Gateway) -> None:
    """Merging the files of many workers takes a while."""
    begun, end = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(Collector):
        def collect(self) -> Iterator[Metric]:
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(end.wait(), loop).result(10)
            yield Metric("kortex_slow", "Slow.", "gauge")

    # A registry asks a collector for its names when it is registered, unless it says them itself.
    gateway.registry.register(type("Described", (Slow,), {"describe": lambda _: []})())
    async with gateway.client() as client:
        scrape = asyncio.create_task(client.get("/metrics"))
        await asyncio.wait_for(begun.wait(), 10)
        assert (await client.get("/healthz")).status_code == 200
        assert not scrape.done()
        end.set()
        assert (await scrape).status_code == 200


async def test_statistics_of_envoy_are_passed_on(gateway: Gateway) -> None:
    """Its own admin interface stays private."""
    async with gateway.client() as client:
        assert (await client.get("/metrics/envoy")).text == "envoy_up 1\n"
        gateway.statistics = None
        reply = await client.get("/metrics/envoy")
    assert reply.status_code == 503
    assert reply.json() == {"error": {"message": "its admin interface does not answer"}}


async def test_statistics_of_envoy_are_not_here_when_envoy_is_somebody_else_s(gateway: Gateway) -> None:
    """``kortex serve`` knows nothing of its Envoy."""
    async with gateway.client(with_envoy=False) as client:
        assert (await client.get("/metrics/envoy")).status_code == 404


@pytest.mark.parametrize("path", ["/", "/stats", "/quitquitquit"])
async def test_unknown_path_is_answered_with_those_there_are(gateway: Gateway, path: str) -> None:
    """In JSON, like everything here that is no text."""
    async with gateway.client() as client:
        reply = await client.get(path)
    assert reply.status_code == 404
    assert "/readyz" in reply.json()["error"]["message"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/config", "/healthz", "/metrics"])
async def test_nothing_can_be_changed(gateway: Gateway, method: str, path: str) -> None:
    """The only way to change the configuration is its file."""
    async with gateway.client() as client:
        reply = await client.request(method, path)
    assert reply.status_code == 405
    assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert reply.json()["error"]["message"]


@pytest.fixture
async def served(gateway: Gateway) -> AsyncIterator[str]:
    """The URL of a server that is up."""
    listening = listen("127.0.0.1:0")
    server = AdminServer(admin_application(gateway.operated()), listening)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    await server.start()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    yield f"http://{spell_address(listening)}"
    await server.stop()


async def test_server_answers_on_its_socket_and_leaves_signals_alone(served: str) -> None:
    """They are the command's: they drain the gateway."""
    async with httpx.AsyncClient(trust_env=False) as client:
        reply = await client.get(f"{served}/readyz")
    assert reply.json()["ready"] is True
    assert "server" not in reply.headers


async def test_server_ends_when_a_client_keeps_its_connection(gateway: Gateway) -> None:
    """Scrapers do; the end of the gateway does not wait for them."""
    listening = listen("127.0.0.1:0")
    server = AdminServer(admin_application(gateway.operated()), listening)
    await server.start()
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(f"http://{spell_address(listening)}/healthz")
        await asyncio.wait_for(server.stop(), 10)


async def test_explain_says_where_a_request_would_go(gateway: Gateway) -> None:
    """By the snapshot in force, with what the provider would be sent, and without its credential."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    asked = {"body": body, "headers": {"X-A": "b"}}
    async with gateway.client() as client:
        reply = await client.post("/explain", json=asked)
        streamed = await client.post("/explain", json={"body": {**body, "stream": True}, "decision": "d7"})
    assert reply.status_code == 200
    told = reply.json()
    assert (told["rule"], told["plan"]) == (None, ["first"])
    assert told["attempts"][0]["request"]["url"] == "http://first.test/v1/chat/completions"
    assert ["authorization", "***"] in told["attempts"][0]["request"]["headers"]
    assert "sk-secret" not in reply.text
    assert (streamed.json()["rule"], streamed.json()["plan"]) == ("streams", ["second"])
    assert streamed.json()["decision"] == "d7"


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        pytest.param("{", 400, "could not parse", id="no-json"),
        pytest.param("{}", 400, "'body'", id="no-body"),
        pytest.param('{"body": {}, "hedaers": {}}', 400, "are body, path, headers, key, decision", id="unknown-key"),
        pytest.param('{"body": []}', 400, "expected an object", id="body-is-a-list"),
        pytest.param('{"body": {}, "path": "/v1/nothing"}', 404, "/v1/nothing", id="unknown-path"),
        pytest.param('{"body": {}, "key": "ci"}', 400, "No key is called 'ci'", id="unknown-name-of-a-key"),
        pytest.param('{"body": {}}', 400, "'model'", id="what-a-client-would-be-told"),
    ],
)
async def test_explain_refuses_what_is_no_request(gateway: Gateway, asked: str, status: int, words: str) -> None:
    """In OpenAI's shape, as the gateway itself would."""
    async with gateway.client() as client:
        reply = await client.post("/explain", content=asked)
    assert reply.status_code == status
    assert words in reply.json()["error"]["message"]


async def test_explain_reads_the_body_as_it_was_sent(gateway: Gateway) -> None:
    """Also a number that not every writer of JSON could write again."""
    asked = f'{{"body":{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"seed":{2**64}}}}}'
    async with gateway.client() as client:
        reply = await client.post("/explain", content=asked)
    assert reply.status_code == 200, reply.text


async def test_explain_is_only_for_posts(gateway: Gateway) -> None:
    """A request has a body."""
    async with gateway.client() as client:
        assert (await client.get("/explain")).status_code == 405


async def test_what_should_be_mended_is_said_and_keeps_nobody_out(gateway: Gateway) -> None:
    """Records that wait for their database are no reason to send clients elsewhere."""
    gateway.degraded = {"ledger": "records wait"}
    async with gateway.client() as client:
        reply = await client.get("/readyz")
    assert reply.status_code == 200
    assert reply.json() == {"ready": True, "conditions": READY, "degraded": {"ledger": "records wait"}}


async def test_usage_is_asked_with_the_querys_parameters(gateway: Gateway) -> None:
    """In a thread: the answer may take the database a while."""
    asked: list[tuple[dict[str, str], str]] = []

    def usage(parameters: Mapping[str, str]) -> Mapping[str, Any]:
        asked.append((dict(parameters), threading.current_thread().name))
        return {"usage": [{"key": "ci"}]}

    gateway.usage = usage
    async with gateway.client() as client:
        reply = await client.get("/usage?by=key&since=7d")
    assert reply.json() == {"usage": [{"key": "ci"}]}
    assert asked[0][0] == {"by": "key", "since": "7d"}
    assert asked[0][1] != threading.main_thread().name


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        pytest.param(BadQuestion("no such name"), 400, "no such name", id="question"),
        pytest.param(LedgerUnavailable("it is away"), 503, "it is away", id="database"),
        pytest.param(None, 404, "no ledger is kept", id="no-ledger"),
    ],
)
async def test_usage_that_cannot_be_told_says_why(
    gateway: Gateway, error: Exception | None, status: int, said: str
) -> None:
    """Whose fault it is stands in the status."""

    def usage(_: Mapping[str, str]) -> Mapping[str, Any]:
        assert error is not None
        raise error

    gateway.usage = None if error is None else usage
    async with gateway.client() as client:
        reply = await client.get("/usage")
    assert reply.status_code == status
    assert said in reply.json()["error"]["message"]
