"""Clients that leave, at any moment and by the thousand: what they asked for ends with them, and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import (
    FakeProvider,
    Fault,
    HeadersThenSilence,
    RateLimited,
    Recorded,
    Silence,
    SlowEvents,
    StallAfter,
    Status,
)
from tests.fakes.raw_client import RawClient

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares every client the loading of the system's authorities
CHAT_PATH = "/v1/chat/completions"
WITHIN = 2.0  # seconds from the leaving to its end at the provider: a second, and a busy machine
SOON = 10.0
GROWTH = 48 << 10  # KiB of memory that a process may take more after a thousand clients than after some hundred


class Crowd:
    """A gateway with two workers, and two providers."""

    def __init__(self, gateway: KortexProcess, a: FakeProvider, b: FakeProvider) -> None:
        self.gateway = gateway
        self.a, self.b = a, b
        self.port = urlsplit(gateway.origin).port or 0

    def chat(self, model: str = "pair", text: str = "hello", *, stream: bool = False) -> httpx.Response:
        """A call by a client that stays."""
        body = orjson.loads(call(model, text, stream=stream))
        with httpx.Client(trust_env=False, verify=NO_TLS, timeout=30) as http:
            return http.post(f"{self.gateway.base_url}/chat/completions", json=body)

    def processes(self) -> list[int]:
        """Envoy and the workers."""
        return [self.gateway.envoy_pid, *sorted(self.gateway.worker_pids)]

    def recover(self) -> None:
        """Call until ``a`` is asked first again, after what it did to others."""

        def well() -> bool:
            self.chat()
            backends = httpx.get(f"{self.gateway.admin_url}/backends", verify=NO_TLS).json()["backends"]
            return bool(backends["a"]["circuit"] == "closed")

        self.gateway.until(well, "a is well")

    def assert_nothing_is_left(self) -> None:
        """No request in progress at a provider, in a worker, or anywhere in Envoy: client side, plan, ext_proc."""
        for fake in (self.a, self.b):
            fake.wait_for(lambda fake: fake.active == 0, SOON)
        self.gateway.until(lambda: self._in_flight() == {}, "nothing is in flight", timeout=SOON)

    def _in_flight(self) -> dict[str, float]:
        """Every gauge of requests under way that is not zero."""
        with httpx.Client(trust_env=False, verify=NO_TLS, base_url=self.gateway.admin_url) as admin:
            text = admin.get("/metrics").text + admin.get("/metrics/envoy").text
        gauges = ("kortex_attempts_in_flight", "envoy_http_downstream_rq_active", "envoy_cluster_upstream_rq_active")
        lines = [line for line in text.splitlines() if line.startswith(gauges)]
        assert {gauge for gauge in gauges if any(line.startswith(gauge) for line in lines)} == set(gauges)
        values = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
        # Envoy is answering one request at this moment: ours for its statistics.
        return {name: value for name, value in values.items() if value and 'conn_manager_prefix="admin"' not in name}


def call(model: str = "pair", text: str = "hello", *, stream: bool = False) -> bytes:
    """A chat call's body."""
    return orjson.dumps({"model": model, "messages": [{"role": "user", "content": text}], "stream": stream})


def whole_request(body: bytes) -> bytes:
    """With its head."""
    return f"POST {CHAT_PATH} HTTP/1.1\r\nhost: k\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture(scope="module")
def shared_crowd() -> Iterator[Crowd]:
    """Started once; use ``crowd``."""
    with FakeProvider(name="a") as a, FakeProvider(name="b") as b:
        config = {
            "gateway": {"accessLog": False, "retries": {"backoff": "20ms"}},
            "backends": {
                "a": {"provider": "custom", "url": a.url, "model": "inner"},
                "b": {"provider": "custom", "url": b.url, "model": "inner"},
            },
            "routes": {
                "pair": {"models": ["pair"], "defaultBackend": {"name": "a"}, "fallback": {"backends": ["b"]}},
                "alone": {"models": ["alone"], "defaultBackend": {"name": "a"}},
                "short": {
                    "models": ["short"],
                    "defaultBackend": {"name": "a"},
                    "fallback": {"backends": ["b"]},
                    "timeouts": {"firstToken": "300ms", "unstreamed": "300ms", "idle": "300ms"},
                },
            },
        }
        with KortexProcess(config, workers=2) as gateway:
            yield Crowd(gateway, a, b)


@pytest.fixture
def crowd(shared_crowd: Crowd) -> Crowd:
    """Providers that are healthy and have not been asked."""
    for fake in (shared_crowd.a, shared_crowd.b):
        fake.clear_faults()
        fake.clear()
    return shared_crowd


# ---- one client


def left_at_once(request: Recorded) -> bool:
    """Whether the provider has noticed."""
    return request.client_disconnected_at is not None


@pytest.mark.parametrize("leave", [RawClient.close, RawClient.reset], ids=["fin", "rst"])
@pytest.mark.parametrize(
    ("fault", "stream", "sent"),
    [
        pytest.param(Silence(), False, 0, id="before-headers"),
        pytest.param(Silence(), True, 0, id="before-headers-of-a-stream"),
        pytest.param(HeadersThenSilence(), False, 1, id="after-headers"),
        pytest.param(HeadersThenSilence(), True, 1, id="after-headers-of-a-stream"),
        pytest.param(StallAfter(1), True, 200, id="after-the-first-event"),
    ],
)
def test_provider_is_left_when_the_client_leaves(
    crowd: Crowd, fault: Fault, sent: int, leave: Callable[[RawClient], None], *, stream: bool
) -> None:
    """Within a second, wherever the request is; nobody else is asked."""
    crowd.a.always = fault
    with RawClient(crowd.port) as client:
        client.post(CHAT_PATH, call(stream=stream))
        crowd.a.wait_for(lambda fake: any(request.bytes_sent >= sent for request in fake.requests))
        leave(client)
    crowd.a.wait_for(lambda fake: all(map(left_at_once, fake.requests)), WITHIN)
    assert len(crowd.a.requests) == 1
    assert crowd.b.requests == []
    crowd.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("fault", "sent", "status"),
    [
        pytest.param(Silence(), 0, "client_gone", id="before-headers"),
        pytest.param(HeadersThenSilence(), 1, "interrupted", id="after-headers"),
    ],
)
def test_client_that_left_is_not_counted_as_answered(crowd: Crowd, fault: Fault, sent: int, status: str) -> None:
    """Nor as one that waited in vain."""
    crowd.a.always = fault
    name = f'kortex_requests_total{{operation="chat",route="alone",status="{status}",stream="true"}}'
    before = crowd.gateway.metrics().get(name, 0)
    with RawClient(crowd.port) as client:
        client.post(CHAT_PATH, call("alone", stream=True))
        crowd.a.wait_for(lambda fake: any(request.bytes_sent >= sent for request in fake.requests))
        time.sleep(0.2)
    crowd.assert_nothing_is_left()
    assert crowd.gateway.metrics()[name] == before + 1


@pytest.mark.parametrize("leave", [RawClient.close, RawClient.reset], ids=["fin", "rst"])
def test_provider_is_left_when_the_client_leaves_a_stream(crowd: Crowd, leave: Callable[[RawClient], None]) -> None:
    """Midway, between two events that it did read."""
    crowd.a.always = SlowEvents(0.1)
    with RawClient(crowd.port) as client:
        client.post(CHAT_PATH, call(text="[words=300]", stream=True))
        client.read_until(b"word2")
        leave(client)
    crowd.a.wait_for(lambda fake: all(map(left_at_once, fake.requests)), WITHIN)
    crowd.assert_nothing_is_left()


def test_next_backend_is_left_too(crowd: Crowd) -> None:
    """A client that waited through a failover and then leaves."""
    crowd.a.always = Status(503)
    crowd.b.always = Silence()
    with RawClient(crowd.port) as client:
        client.post(CHAT_PATH, call())
        crowd.b.wait_for(lambda fake: fake.active == 1)
    crowd.b.wait_for(lambda fake: fake.active == 0, WITHIN)
    crowd.assert_nothing_is_left()


def test_provider_is_not_asked_again_when_the_client_has_left(crowd: Crowd) -> None:
    """While the gateway waits for a Retry-After."""
    crowd.a.always = RateLimited(retry_after=2)
    with RawClient(crowd.port) as client:
        client.post(CHAT_PATH, call())
        crowd.a.wait_for(lambda fake: bool(fake.requests) and fake.active == 0)
    crowd.assert_nothing_is_left()
    with pytest.raises(TimeoutError):
        crowd.a.wait_for(lambda fake: len(fake.requests) > 1, 2.5)
    assert crowd.b.requests == []


@pytest.mark.parametrize("size", [0, 1, 40_000], ids=["no-body", "one-byte", "most"])
def test_provider_is_not_asked_when_the_client_leaves_before_its_body_is_there(crowd: Crowd, size: int) -> None:
    """An unfinished request is nobody's."""
    body = call(text="x" * 50_000)
    with RawClient(crowd.port) as client:
        client.send(
            f"POST {CHAT_PATH} HTTP/1.1\r\nhost: k\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body[:size]
        )
    crowd.assert_nothing_is_left()
    assert crowd.a.requests == []


def test_provider_is_left_when_a_client_cancels_over_http2(crowd: Crowd) -> None:
    """One stream of a connection ends; the other goes on."""
    crowd.a.always = SlowEvents(0.1)
    with RawClient(crowd.port) as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0))
        for number, words in ((1, 300), (3, 20)):
            body = call(text=f"[words={words}]", stream=True)
            client.send(frame(HEADERS, number, HEADERS_OF_A_CALL, END_HEADERS) + frame(DATA, number, body, END_STREAM))
            crowd.a.wait_for(lambda fake: len(fake.requests) > number // 2)  # noqa: B023 - called within this turn
        client.read_until(b"word2")
        client.send(frame(RST_STREAM, 1, CANCEL))
        crowd.a.wait_for(lambda fake: left_at_once(fake.requests[0]), WITHIN)
        client.read_until(b"[DONE]")
    assert [left_at_once(request) for request in crowd.a.requests] == [True, False]
    crowd.assert_nothing_is_left()


# As much of HTTP/2 as a client that cancels needs: https://www.rfc-editor.org/rfc/rfc9113 (fields: RFC 7541, 6.2.2).
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
END_STREAM, END_HEADERS = 1, 4
CANCEL = (8).to_bytes(4)
HEADERS_OF_A_CALL = b"".join(
    b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"k"),
        (b":path", CHAT_PATH.encode()),
        (b"content-type", b"application/json"),
    )
)


def frame(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """One frame."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


# ---- a thousand clients


async def _leave_somewhere(port: int, chance: random.Random) -> None:
    """A client that sends some or all of a request, waits for none or some of the reply, and leaves."""
    request = whole_request(
        call(
            chance.choice(["pair", "short", "nobody"]),
            f"[words={chance.choice([1, 20])}]" + "x" * chance.choice([0, 0, 50_000]),
            stream=chance.random() < 0.7,
        )
    )
    size, patience = chance.choice([1, 200, 2_000]), chance.choice([0, 0.05, 1, 1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        writer.write(request if chance.random() < 0.8 else request[: chance.randrange(len(request))])
        await writer.drain()
        with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError):
            await asyncio.wait_for(reader.readexactly(size), patience)
        if chance.random() < 0.5:
            writer.transport.abort()
        writer.close()
        await writer.wait_closed()


async def _disconnect(port: int, clients: int, seed: int) -> None:
    """So many of them, fifty at a time."""
    chance = random.Random(seed)
    places = asyncio.Semaphore(50)

    async def one() -> None:
        async with places:
            await _leave_somewhere(port, chance)

    await asyncio.gather(*(one() for _ in range(clients)))


def _any_fault(chance: random.Random) -> Callable[[Recorded], Fault | None]:
    """Providers as they are on a bad day."""
    faults: list[Fault | None] = [
        None,
        None,
        SlowEvents(0.01),
        Silence(0.2),
        StallAfter(1),
        HeadersThenSilence(),
        Status(503),
    ]
    return lambda _: chance.choice(faults)


def _memory(process: int) -> int:
    """Resident, in KiB."""
    return int(subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, check=True).stdout)


def test_nothing_is_left_when_a_thousand_clients_leave(crowd: Crowd) -> None:
    """Envoy and the workers live on as they were: no stream, no gauge, no memory that grows with the clients."""
    processes = crowd.processes()
    crowd.a.decide = _any_fault(random.Random(1))
    crowd.b.decide = _any_fault(random.Random(2))
    asyncio.run(_disconnect(crowd.port, 300, seed=3))
    crowd.assert_nothing_is_left()
    before = {process: _memory(process) for process in processes}
    asyncio.run(_disconnect(crowd.port, 1_000, seed=4))
    crowd.assert_nothing_is_left()
    assert crowd.processes() == processes
    grown = {process: _memory(process) - before[process] for process in processes}
    assert max(grown.values()) < GROWTH, grown
    crowd.a.clear_faults()
    assert crowd.chat().status_code == 200
    assert "Traceback" not in crowd.gateway.stderr


def test_three_hundred_slow_streams_complete_at_once(crowd: Crowd) -> None:
    """Each with its own words, to the byte, though all of them are under way together."""
    clients = 300
    crowd.recover()
    texts = [f"stream number {number}" for number in range(clients)]
    expected = [crowd.chat(text=text, stream=True).content for text in texts[:2]]
    crowd.a.clear()
    crowd.a.always = SlowEvents(0.6)

    async def ask_all() -> list[bytes]:
        limits = httpx.Limits(max_connections=clients)
        async with httpx.AsyncClient(verify=NO_TLS, base_url=crowd.gateway.origin, timeout=60, limits=limits) as http:
            asking = [asyncio.create_task(http.post(CHAT_PATH, content=call(text=text, stream=True))) for text in texts]
            await crowd.a.wait_for_async(lambda fake: fake.active == clients, 30)
            replies = await asyncio.gather(*asking)
        assert {reply.status_code for reply in replies} == {200}
        return [reply.content for reply in replies]

    received = asyncio.run(ask_all())
    assert received[:2] == expected
    assert [_words(reply) for reply in received] == [f"a says: {text}" for text in texts]
    assert {_shape(reply) for reply in received} == {_shape(expected[0])}
    crowd.assert_nothing_is_left()


def _words(stream: bytes) -> str:
    events = [orjson.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: {")]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events)


def _shape(stream: bytes) -> tuple[int, bytes]:
    """How many lines, and the last one."""
    return stream.count(b"\n"), stream[-14:]
