"""The fake's server: connections, requests, disconnects, TLS and its own life."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
import warnings
from typing import Any

import httpx
import pytest

from tests.fakes import (
    CloseBeforeHeaders,
    CutAfter,
    FakeProvider,
    HeadersThenSilence,
    Recorded,
    Silence,
    StallAfter,
    Status,
    closed_port,
    silent_port,
)
from tests.fakes.raw_client import RawClient

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares every client the loading of the system's authorities
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def chat(fake: FakeProvider) -> httpx.Response:
    """One request on a connection of its own."""
    return httpx.post(f"{fake.url}/chat/completions", json=CHAT, trust_env=False, verify=NO_TLS)


def test_request_is_recorded_as_it_was_sent_when_answered() -> None:
    """Method, path, query, headers in their case and order, and body."""
    with FakeProvider() as fake, RawClient(fake.port) as client:
        client.post("/v1/chat/completions?a=1&b=%20", CHAT, "X-One: 1", "x-two: 2", "X-ONE: 3")
        client.read_until(b"\r\n\r\n")
        fake.wait_for(lambda fake: fake.requests[0].finished)
        request = fake.requests[0]
    assert (request.method, request.path, request.query) == ("POST", "/v1/chat/completions", "a=1&b=%20")
    assert request.header_list[2:] == (("X-One", "1"), ("x-two", "2"), ("X-ONE", "3"))
    assert request.headers["x-one"] == "1, 3"
    assert "x-Two" in request.headers
    assert request.json == CHAT
    assert request.client_disconnected_at is None
    assert request.bytes_sent > 500


def test_repr_shows_no_header_when_a_request_is_printed() -> None:
    """Failing tests print records, and credentials travel in headers."""
    with FakeProvider() as fake, RawClient(fake.port) as client:
        client.post("/v1/chat/completions", CHAT, "authorization: Bearer sk-secret")
        client.read_until(b"\r\n\r\n")
        assert "sk-secret" not in repr(fake.requests)
        assert "sk-secret" not in repr(fake)


def test_connection_is_reused_when_the_client_keeps_it() -> None:
    """Two requests on one connection, one on another."""
    with FakeProvider() as fake:
        with httpx.Client(trust_env=False, verify=NO_TLS) as client:
            for _ in range(2):
                client.post(f"{fake.url}/chat/completions", json=CHAT)
        chat(fake)
        assert [(request.number, request.connection) for request in fake.requests] == [(1, 1), (2, 1), (3, 2)]
        fake.wait_for(lambda fake: fake.open_connections == 0)


def test_pipelined_requests_are_answered_in_order_when_sent_at_once() -> None:
    """The second waits for the first."""
    with FakeProvider() as fake, RawClient(fake.port) as client:
        request = b"GET /v1/models/%b HTTP/1.1\r\nhost: fake\r\n%b\r\n"
        client.send(request % (b"one", b"") + request % (b"two", b"connection: close\r\n"))
        ending = client.read_to_end()
    assert ending.how == "fin"
    assert ending.data.count(b"HTTP/1.1 404 Not Found") == 2
    assert ending.data.index(b"`one`") < ending.data.index(b"`two`")


def test_http_1_0_connection_is_closed_when_answered() -> None:
    """As the protocol says without keep-alive."""
    with FakeProvider() as fake, RawClient(fake.port) as client:
        client.send(b"GET /v1/models HTTP/1.0\r\n\r\n")
        assert client.read_to_end().data.startswith(b"HTTP/1.1 200 OK")


def test_chunked_request_is_read_when_its_pieces_come_slowly() -> None:
    """And 100 Continue is sent to a client that waits for it, once."""
    with FakeProvider() as fake, RawClient(fake.port) as client:
        headers = b"host: fake\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n"
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\n" + headers)
        assert client.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
        body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
        for byte in body:
            client.send(b"1\r\n%c\r\n" % byte)
        client.send(b"0\r\n\r\n")
        assert client.read().startswith(b"HTTP/1.1 200 OK")
        assert fake.requests[0].body == body


def test_garbage_is_answered_with_400_when_it_is_no_http() -> None:
    """It is no request, so nothing is recorded; the fake goes on."""
    with FakeProvider() as fake:
        with RawClient(fake.port) as client:
            client.send(b"\x16\x03\x01\x00\xa5\r\n\r\n")
            assert client.read_to_end().data.startswith(b"HTTP/1.1 400 Bad Request")
        assert chat(fake).status_code == 200
        assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        pytest.param(Silence(), b"", id="silent"),
        pytest.param(Silence(60), b"", id="sleeping"),
        pytest.param(HeadersThenSilence(), b"\r\n\r\n", id="headers only"),
    ],
)
@pytest.mark.parametrize("how", ["fin", "reset"])
def test_disconnect_is_noticed_at_once_when_the_fake_is_silent(
    fault: Silence | HeadersThenSilence, seen: bytes, how: str
) -> None:
    """By FIN and by RST, without a byte being written."""
    with FakeProvider() as fake:
        fake.always = fault
        client = RawClient(fake.port)
        client.post("/v1/chat/completions", CHAT)
        fake.wait_for(lambda fake: fake.active == 1)
        if seen:
            client.read_until(seen)
        left_at = time.monotonic()
        client.reset() if how == "reset" else client.close()
        fake.wait_for(lambda fake: fake.active == 0)
        request = fake.requests[0]
        assert not request.finished
        assert request.client_disconnected_at is not None
        assert left_at <= request.client_disconnected_at < left_at + 1
        fake.wait_for(lambda fake: fake.open_connections == 0)


def test_disconnect_is_noticed_when_the_client_does_not_read() -> None:
    """A fake that waits for room in the kernel's buffer still sees the client leave, and knows what was taken."""
    with FakeProvider() as fake:
        fake.always = Status(200, b"x" * 50_000_000)
        client = RawClient(fake.port)
        client.post("/v1/chat/completions", CHAT)
        fake.wait_for(lambda fake: fake.active == 1 and fake.requests[0].bytes_sent > 0)
        client.reset()
        fake.wait_for(lambda fake: fake.active == 0)
        assert fake.requests[0].bytes_sent < 1000  # the headers; the body was one write that never ended
        assert not fake.requests[0].finished


def test_wait_for_tells_what_was_seen_when_time_is_up() -> None:
    """The error shows the requests."""
    with FakeProvider(name="slow") as fake:
        chat(fake)
        with pytest.raises(TimeoutError, match=r"slow.*1 requests(.|\n)*POST /v1/chat/completions"):
            fake.wait_for(lambda fake: len(fake.requests) == 2, timeout=0.01)


async def test_coroutines_can_wait_when_the_event_is_their_own_doing() -> None:
    """Waiting in a coroutine does not stop the loop that makes the request."""
    with FakeProvider() as fake:
        async with asyncio.TaskGroup() as tasks, httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
            waiting = tasks.create_task(fake.wait_for_async(lambda fake: len(fake.requests) == 1))
            await client.post(f"{fake.url}/chat/completions", json=CHAT)
            await waiting


def test_connecting_is_refused_when_told_to() -> None:
    """Idle connections end too; afterwards the same port serves again."""
    with FakeProvider() as fake, httpx.Client(trust_env=False, verify=NO_TLS) as client:
        client.post(f"{fake.url}/chat/completions", json=CHAT)
        with fake.refusing():
            with pytest.raises(httpx.ConnectError):
                client.post(f"{fake.url}/chat/completions", json=CHAT)
            assert fake.open_connections == 0
        assert client.post(f"{fake.url}/chat/completions", json=CHAT).status_code == 200
        assert [request.connection for request in fake.requests] == [1, 2]


def test_requests_in_progress_go_on_when_new_connections_are_refused() -> None:
    """Refusing is about connecting."""
    with FakeProvider() as fake, RawClient(fake.port) as client:
        fake.script = [StallAfter(events=2, seconds=0.3)]
        client.post("/v1/chat/completions", {**CHAT, "stream": True}, "connection: close")
        client.read_until(b"data: ")
        with fake.refusing():
            assert client.read_to_end().data.endswith(b"0\r\n\r\n")


def test_connecting_fails_at_once_when_the_port_is_closed() -> None:
    """And nobody else can take the port meanwhile."""
    with closed_port() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_connecting_hangs_when_the_port_is_silent() -> None:
    """Neither accepted nor refused: what a connect timeout is for."""
    with silent_port() as port, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", port), timeout=0.3)


def test_nothing_is_left_when_stopped_in_the_midst_of_requests() -> None:
    """No thread, no socket, no warning; requests cut off so are neither finished nor abandoned by the client."""
    before = threading.active_count()
    clients = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with FakeProvider() as fake:
            fake.always = Silence()
            for _ in range(20):
                clients.append(RawClient(fake.port))
                clients[-1].post("/v1/chat/completions", CHAT)
            fake.wait_for(lambda fake: fake.active == 20)
            clients.append(RawClient(fake.port))  # one that never asks
    assert threading.active_count() == before
    assert fake.open_connections == fake.active == 0
    assert {(request.finished, request.client_disconnected_at) for request in fake.requests} == {(False, None)}
    for client in clients:
        assert client.read_to_end().data == b""
        client.close()


def test_test_fails_when_the_fake_could_not_do_its_part() -> None:
    """An error in ``decide`` is not lost in the fake's thread."""

    def broken(request: Recorded) -> None:
        raise LookupError("no fault for this one")

    fake = FakeProvider(name="a").start()
    fake.decide = broken
    with RawClient(fake.port) as client:
        client.post("/v1/chat/completions", CHAT)
        assert client.read_to_end().data == b""
    with pytest.raises(ExceptionGroup, match="the fake provider a failed") as failure:
        fake.stop()
    assert failure.group_contains(LookupError, match="no fault for this one")


def test_failure_is_noted_when_the_test_fails_first() -> None:
    """The test's own error stays the one that is raised."""
    fake = FakeProvider(name="a")
    fake.always = StallAfter(events=99)
    with pytest.raises(httpx.HTTPError) as failure, fake:
        chat(fake)
    assert "99 events" in failure.value.__notes__[0]


def test_twenty_megabytes_arrive_whole_when_posted() -> None:
    """Quickly enough for tests that post many of them."""
    text = "0123456789" * 2_000_000
    with FakeProvider() as fake:
        started = time.monotonic()
        reply = httpx.post(
            f"{fake.url}/chat/completions",
            json={"model": "m", "messages": [{"role": "user", "content": text}]},
            trust_env=False,
            verify=NO_TLS,
            timeout=30,
        )
        assert time.monotonic() - started < 10
        assert reply.status_code == 200
        assert fake.requests[0].json["messages"][0]["content"] == text


async def test_a_thousand_connections_are_served_when_all_are_open_at_once() -> None:
    """Each gets its own stream to the end."""

    async def one(index: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
        body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"number %d"}]}' % index
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: fake\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        everything = await reader.read()
        writer.close()
        await writer.wait_closed()
        return everything

    def release(request: Recorded) -> StallAfter:
        return StallAfter(events=1, seconds=1.5)

    with FakeProvider() as fake:
        fake.decide = release
        answers = [asyncio.create_task(one(index)) for index in range(1000)]
        await fake.wait_for_async(lambda fake: fake.active == 1000, timeout=30)
        for index, answer in enumerate(await asyncio.gather(*answers)):
            assert b'"content":" %d"' % index in answer
            assert b"data: [DONE]\n\n" in answer
        assert all(request.finished for request in fake.requests)


def test_request_is_served_over_tls_when_the_authority_is_trusted() -> None:
    """The name that the client asked for is recorded, and the certificate holds for it."""
    with FakeProvider(tls=True) as fake:
        context = ssl.create_default_context(cafile=str(fake.ca_file))
        with httpx.Client(verify=context, trust_env=False) as client:
            assert client.get(f"{fake.url}/models").status_code == 200
            assert client.get(f"https://localhost:{fake.port}/v1/models").status_code == 200
        assert [request.server_name for request in fake.requests] == [None, "localhost"]
        assert fake.url.startswith("https://127.0.0.1:")


def test_request_never_arrives_when_the_certificate_is_for_another_name() -> None:
    """A client that checks names goes no further than the handshake."""
    with FakeProvider(tls=True, certificate_names=["elsewhere.test"]) as fake:
        context = ssl.create_default_context(cafile=str(fake.ca_file))
        with (
            httpx.Client(verify=context, trust_env=False) as client,
            pytest.raises(httpx.ConnectError, match="mismatch"),
        ):
            client.get(f"{fake.url}/models")
        fake.wait_for(lambda fake: fake.open_connections == 0)
        assert fake.requests == []


@pytest.mark.parametrize("how", ["reset", "fin"])
def test_exactly_these_events_come_when_a_stream_over_tls_is_cut(how: Any) -> None:
    """What was sent has arrived. (Which end it was does not show here: older Pythons' TLS takes a RST for the end.)"""
    text = ""
    with FakeProvider(tls=True) as fake:
        fake.always = CutAfter(3, how)
        context = ssl.create_default_context(cafile=str(fake.ca_file))
        with (
            httpx.Client(verify=context, trust_env=False) as client,
            client.stream("POST", f"{fake.url}/chat/completions", json={**CHAT, "stream": True}) as reply,
            contextlib.suppress(httpx.ReadError, httpx.RemoteProtocolError),
        ):
            for piece in reply.iter_text():
                text += piece
            raise AssertionError("the stream looked whole")
    assert text.count("\n\n") == 3
    assert text.endswith("\n\n")


def test_tls_connection_ends_cleanly_when_the_fake_stops_midway() -> None:
    """Handshakes, replies and idle connections leave neither warning nor thread."""
    before = threading.active_count()
    with FakeProvider(tls=True) as fake:
        fake.script = [CloseBeforeHeaders(), Silence()]
        context = ssl.create_default_context(cafile=str(fake.ca_file))
        with RawClient(fake.port):  # connects, and never says hello
            with httpx.Client(verify=context, trust_env=False) as client, pytest.raises(httpx.RemoteProtocolError):
                client.get(f"{fake.url}/models")
            with httpx.Client(verify=context, trust_env=False, timeout=0.2) as client, pytest.raises(httpx.ReadTimeout):
                client.get(f"{fake.url}/models")
    assert threading.active_count() == before


def test_authority_is_refused_when_there_is_no_tls() -> None:
    """A test that mixes them up is told."""
    with FakeProvider() as fake, pytest.raises(RuntimeError, match="does not speak TLS"):
        _ = fake.ca_file
