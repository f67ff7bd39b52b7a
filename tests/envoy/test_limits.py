"""Limits of the data plane: what fits passes, what does not is refused in words, and nothing grows without bound."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import ExtraHeaders, FakeProvider, Fault, SlowEvents, Status
from tests.fakes.raw_client import RawClient
from tests.fakes.steps import DONE, Reply, Send, event_reply

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares every client the loading of the system's authorities
CHAT_PATH = "/v1/chat/completions"
BODY_LIMIT = 1 << 20
MIB = 1 << 20
CHAT = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'


@dataclass(frozen=True, slots=True)
class Limited:
    """A gateway and the provider behind it."""

    gateway: KortexProcess
    provider: FakeProvider
    http: httpx.Client

    @property
    def port(self) -> int:
        """Where clients connect."""
        return urlsplit(self.gateway.origin).port or 0

    def post(self, content: Any, headers: dict[str, str] | list[tuple[str, str]] | None = None) -> httpx.Response:
        """A chat call; an iterator is sent in chunks."""
        return self.http.post(self.gateway.origin + CHAT_PATH, content=content, headers=headers)

    def models(self) -> httpx.Response:
        """The cheapest request, on a connection of its own."""
        with httpx.Client(trust_env=False, verify=NO_TLS, timeout=10) as http:
            return http.get(f"{self.gateway.base_url}/models")


@contextlib.contextmanager
def running(**limits: Any) -> Iterator[Limited]:
    """A gateway with these limits."""
    with FakeProvider(name="a") as provider:
        config = {
            "gateway": limits,
            "backends": {"a": {"provider": "custom", "url": provider.url}},
            "routes": {"r": {"models": ["m"], "defaultBackend": {"name": "a"}, "retries": {"perBackend": 0}}},
        }
        with (
            KortexProcess(config) as gateway,
            httpx.Client(trust_env=False, verify=NO_TLS, timeout=20) as http,
        ):
            yield Limited(gateway, provider, http)


@pytest.fixture(scope="module")
def shared_limited() -> Iterator[Limited]:
    """Started once; use ``limited``."""
    with running(bodyLimit=BODY_LIMIT) as limited:
        yield limited


@pytest.fixture
def limited(shared_limited: Limited) -> Limited:
    """A provider that is healthy and has not been asked."""
    shared_limited.provider.clear_faults()
    shared_limited.provider.clear()
    return shared_limited


@pytest.fixture(scope="module")
def small() -> Iterator[Limited]:
    """A gateway with room for few connections and little memory."""
    with running(maxConnections=8, heapLimit=64 * MIB, bodyLimit=32 * MIB) as limited:
        yield limited


def padded(size: int) -> bytes:
    """A chat call of so many bytes."""
    start = CHAT[:-1] + b',"x":"'
    return start + b"x" * (size - len(start) - 2) + b'"}'


def chunks(content: bytes, size: int = 50_000) -> Iterator[bytes]:
    """In pieces, so that no length is announced."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


def assert_too_large(status: int, error: dict[str, Any]) -> None:
    """Whoever noticed it first."""
    assert status == 413
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "request_too_large", None)
    assert str(BODY_LIMIT) in error["message"]


# ---- bodies


@pytest.mark.parametrize("write", [bytes, chunks], ids=["content-length", "chunked"])
def test_body_passes_when_it_is_just_within_the_limit(limited: Limited, write: Any) -> None:
    """To the byte."""
    body = padded(BODY_LIMIT)
    assert len(body) == BODY_LIMIT
    assert limited.post(write(body)).status_code == 200
    assert limited.provider.requests[0].body == body


@pytest.mark.parametrize("write", [bytes, chunks], ids=["content-length", "chunked"])
@pytest.mark.parametrize("size", [BODY_LIMIT + 1, 3 * BODY_LIMIT], ids=["one-more", "thrice"])
def test_body_is_refused_when_it_is_over_the_limit(limited: Limited, size: int, write: Any) -> None:
    """By one byte."""
    reply = limited.post(write(padded(size)))
    assert_too_large(reply.status_code, reply.json()["error"])
    assert limited.provider.requests == []


def test_body_is_refused_before_it_comes_when_it_is_announced(limited: Limited) -> None:
    """A terabyte need not be sent to be refused."""
    with socket.create_connection(("127.0.0.1", limited.port), 10) as connection:
        connection.sendall(f"POST {CHAT_PATH} HTTP/1.1\r\nhost: k\r\ncontent-length: {1 << 40}\r\n\r\n".encode())
        reply = HTTPResponse(connection)
        reply.begin()
        assert_too_large(reply.status, orjson.loads(reply.read())["error"])


# ---- headers


def test_headers_pass_when_they_are_within_the_limits(limited: Limited) -> None:
    """Ninety of them beside those of any client, or close to 96 KiB: what the gateway adds has room beside them."""
    assert limited.post(CHAT, [(f"x-header-{number}", "x") for number in range(85)]).status_code == 200
    assert limited.post(CHAT, {"x-large": "x" * 97_000}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([(f"x-header-{number}", "x") for number in range(95)], id="just-too-many"),
        pytest.param([("x-header", "x")] * 95, id="one-name-too-often"),
        pytest.param([(f"x-header-{number}", "x") for number in range(140)], id="too-many"),
        pytest.param({"x-large": "x" * 98_400}, id="just-too-large"),
        pytest.param({"x-large": "x" * 120_000}, id="too-large"),
    ],
)
def test_headers_are_refused_in_the_same_words_by_arrival_and_envoy(limited: Limited, headers: Any) -> None:
    """In the same words, whether arrival or Envoy counts them."""
    reply = limited.post(CHAT, headers)
    assert reply.status_code == 431
    assert reply.json()["error"]["code"] == "headers_too_large"
    assert reply.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([(f"x-header-{number}", "x") for number in range(101)], id="too-many"),
        pytest.param([("x-large", "x" * 100_000)], id="one-too-large"),
        pytest.param([(f"x-{number}", "x" * 10_000) for number in range(11)], id="too-large-together"),
        pytest.param([("x" * 100_000, "x")], id="name-too-large"),
    ],
)
def test_headers_are_refused_when_they_are_over_the_limits(limited: Limited, headers: list[tuple[str, str]]) -> None:
    """Nothing is read of the rest."""
    reply = limited.post(CHAT, headers)
    assert reply.status_code == 431
    assert reply.json()["error"]["code"] == "headers_too_large"
    assert reply.headers["x-request-id"]
    assert limited.provider.requests == []


def test_path_is_refused_when_it_is_too_long(limited: Limited) -> None:
    """It counts as a header."""
    with socket.create_connection(("127.0.0.1", limited.port), 10) as connection:
        connection.sendall(f"GET /v1/{'x' * 100_000} HTTP/1.1\r\nhost: k\r\n\r\n".encode())
        reply = HTTPResponse(connection)
        reply.begin()
        assert reply.status == 431
        assert orjson.loads(reply.read())["error"]["code"] == "headers_too_large"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({f"x-header-{number}": "x" for number in range(200)}, id="many"),
        pytest.param({"x-large": "x" * 200_000}, id="large"),
    ],
)
def test_provider_fails_when_its_headers_are_over_the_limits(limited: Limited, headers: dict[str, str]) -> None:
    """As one that does not answer; the gateway goes on."""
    limited.provider.always = ExtraHeaders(headers)
    reply = limited.post(CHAT)
    assert reply.status_code == 502
    assert reply.json()["error"]["code"] == "connection_reset"
    limited.provider.always = None
    assert limited.post(CHAT).status_code == 200


# ---- time


def test_connection_ends_when_a_requests_head_does_not_come(limited: Limited) -> None:
    """Ten seconds for the headers, in however many pieces they come."""
    with socket.create_connection(("127.0.0.1", limited.port), 30) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: k\r\n")
        reply = HTTPResponse(connection)
        reply.begin()
        assert reply.status == 408
        assert orjson.loads(reply.read())["error"]["code"] == "request_timeout"


def test_client_that_reads_slowly_gets_the_end_of_its_reply_before_its_connection_is_closed(limited: Limited) -> None:
    """Though it reads nothing for a while, again and again, when the whole reply waits for it in the gateway."""
    message = {"role": "assistant", "content": "x" * (16 * MIB)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    limited.provider.always = Status(200, {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]})
    with RawClient(limited.port, timeout=20) as client:
        client.post(CHAT_PATH, CHAT, "connection: close")
        received = client.read_until(b'"content"')
        length = int(re.findall(rb"content-length: (\d+)", received)[0])
        head, count, pauses = received.index(b"\r\n\r\n") + 4, len(received), 1
        while part := client.read():
            count += len(part)
            if count > pauses * MIB:
                pauses += 1
                time.sleep(0.3)
    assert count == head + length


# ---- memory


@dataclass(frozen=True, slots=True)
class Endless(Fault):
    """A stream of ``events`` chunks with ``size`` letters each."""

    events: int
    size: int

    def apply(self, reply: Reply) -> Reply:
        chunk = {"model": "m", "choices": [{"index": 0, "delta": {"content": "x" * self.size}, "finish_reason": None}]}
        return replace(event_reply(*[Send(b"data: " + orjson.dumps(chunk) + b"\n\n")] * self.events, DONE))


def memory(process: int) -> int:
    """Resident, in bytes."""
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, check=True)
    return int(shown.stdout) << 10


def test_provider_waits_when_the_client_does_not_read(limited: Limited) -> None:
    """200 MB are not piled up for it, in no process; it gets all of them when it reads."""
    limited.provider.always = Endless(events=1_600, size=128 << 10)
    processes = [limited.gateway.envoy_pid, *limited.gateway.worker_pids]
    before = {process: memory(process) for process in processes}
    with RawClient(limited.port, timeout=30) as client:
        client.post(CHAT_PATH, CHAT[:-1] + b',"stream":true}', "connection: close")
        limited.provider.wait_for(lambda fake: any(request.bytes_sent > 1 * MIB for request in fake.requests))
        sent = _settled(limited.provider)
        assert sent < 100 * MIB
        assert all(memory(process) - before[process] < 100 * MIB for process in processes)
        received = 0
        last = b""
        while part := client.read():
            received += len(part)
            last = (last + part)[-40:]
    assert received > 1_600 * (128 << 10)
    assert b"data: [DONE]\n\n" in last


def _settled(provider: FakeProvider) -> int:
    """Bytes sent when no more have been taken for a second."""
    while True:
        sent = provider.requests[0].bytes_sent
        with contextlib.suppress(TimeoutError):
            provider.wait_for(lambda fake: fake.requests[0].bytes_sent > sent, 1.0)  # noqa: B023 - called at once
            continue
        return sent


# ---- too much at once


def test_connections_are_closed_when_they_are_too_many(small: Limited) -> None:
    """Those that are there go on, and there is room again when one of them has left."""
    small.provider.always = SlowEvents(0.2)
    body = CHAT[:-1] + b',"stream":true}'
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawClient(small.port, timeout=20)) for _ in range(8)]
        for client in clients:
            client.post(CHAT_PATH, body, "connection: close")
        small.provider.wait_for(lambda fake: fake.active == 8)
        with RawClient(small.port) as one_more:
            ending = one_more.read_to_end()
        assert (ending.data, ending.how) in {(b"", "fin"), (b"", "reset")}
        assert all(b"[DONE]" in client.read_to_end().data for client in clients)
    small.provider.always = None
    small.gateway.until(lambda: small.models().status_code == 200, "there is room again")


def test_requests_are_refused_when_memory_runs_out(small: Limited) -> None:
    """In OpenAI's shape and at once; streams under way go on, and so does the gateway when there is memory again."""
    small.provider.always = SlowEvents(0.5)
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(RawClient(small.port, timeout=20))
        stream.post(CHAT_PATH, CHAT[:-1] + b',"stream":true}', "connection: close")
        stream.read_until(b"data: ")
        for _ in range(3):
            upload = stack.enter_context(RawClient(small.port, timeout=10))
            upload.send(f"POST {CHAT_PATH} HTTP/1.1\r\nhost: k\r\ncontent-length: {30 * MIB}\r\n\r\n".encode())
            with contextlib.suppress(ConnectionError):
                upload.send(bytes(25 * MIB))
        refused = small.gateway.until(lambda: _refused(small), "memory has run out")
        assert refused.headers["content-type"] == "application/json"
        assert refused.headers["x-request-id"]
        error = refused.json()["error"]
        assert (error["type"], error["code"]) == ("server_error", "overloaded")
        assert b"[DONE]" in stream.read_to_end().data
    small.provider.always = None
    small.gateway.until(lambda: small.models().status_code == 200, "there is memory again")


def _refused(limited: Limited) -> httpx.Response | None:
    reply = limited.models()
    return reply if reply.status_code == 503 else None


def test_worker_that_is_gone_is_missed_in_openais_json(limited: Limited) -> None:
    """Until it is back, which is soon."""
    before = limited.gateway.worker_pids
    subprocess.run(["kill", "-KILL", *map(str, before)], check=True)
    deadline = time.monotonic() + 20
    while (reply := limited.models()).status_code != 200:
        assert time.monotonic() < deadline
        assert reply.status_code == 503
        assert reply.json()["error"]["code"] == "gateway_unavailable"
        assert reply.headers["x-request-id"]
    assert limited.post(CHAT).status_code == 200
    assert limited.gateway.worker_pids != before
