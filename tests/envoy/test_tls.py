"""TLS to providers: whom the gateway trusts, under which name, over which HTTP, and what it says when it does not."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest

from tests.envoy.http2_front import Http2Front
from tests.envoy.kortex_process import KortexProcess
from tests.fakes import ErrorAfter, FakeProvider, Recorded, SlowEvents, Status

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares every client the loading of the system's authorities
BOTH_MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])

TRUSTED = ("name", "address", "wildcard", "plain-by-name")
REFUSED = {
    "unknown-authority": "tls_failure",
    "another-authority": "tls_failure",
    "another-name": "tls_failure",
    "address-not-in-it": "tls_failure",
    "wildcard-too-deep": "tls_failure",
    "not-tls": "tls_failure",
    "no-such-name": "connect_failure",
}


@dataclass(frozen=True, slots=True)
class Secured:
    """The gateway and its providers.

    ``good`` has a certificate for localhost, ``other`` for another name, ``plain`` has none; ``front`` is behind
    HTTP/2, ``old`` behind HTTP/1.1.
    """

    gateway: KortexProcess
    http: httpx.Client
    good: FakeProvider
    other: FakeProvider
    plain: FakeProvider
    front: FakeProvider
    old: FakeProvider

    @property
    def fakes(self) -> tuple[FakeProvider, ...]:
        """All of them."""
        return (self.good, self.other, self.plain, self.front, self.old)

    def chat(self, model: str, text: str = "hello", **fields: Any) -> httpx.Response:
        """A chat call; the backend's name is the model's."""
        body = orjson.dumps({"model": model, "messages": [{"role": "user", "content": text}], **fields})
        return self.http.post(f"{self.gateway.base_url}/chat/completions", content=body)


@pytest.fixture(scope="module")
def shared_secured() -> Iterator[Secured]:
    """Started once; use ``secured``."""
    with contextlib.ExitStack() as stack:
        start = stack.enter_context
        good = start(FakeProvider(name="good", tls=True, certificate_names=("localhost", "127.0.0.1", "*.localhost")))
        other = start(FakeProvider(name="other", tls=True, certificate_names=("other.example",)))
        plain = start(FakeProvider(name="plain"))
        front, old = start(FakeProvider(name="front")), start(FakeProvider(name="old"))
        http2, http1 = start(Http2Front(front)), start(Http2Front(old, ("http/1.1",)))
        urls = {
            "name": (f"https://localhost:{good.port}", good),
            "address": (f"https://127.0.0.1:{good.port}", good),
            "wildcard": (f"https://api.localhost:{good.port}", good),
            "unknown-authority": (f"https://localhost:{good.port}", None),
            "another-authority": (f"https://localhost:{good.port}", other),
            "another-name": (f"https://localhost:{other.port}", other),
            "address-not-in-it": (f"https://127.0.0.1:{other.port}", other),
            "wildcard-too-deep": (f"https://a.b.localhost:{good.port}", good),
            "not-tls": (f"https://localhost:{plain.port}", good),
            "no-such-name": (f"https://provider.invalid:{good.port}", good),
            "plain-by-name": (f"http://localhost:{plain.port}", None),
            "http2": (http2.url, http2),
            "http1": (http1.url, http1),
        }
        gateway = start(KortexProcess(_config(urls)))
        http = start(httpx.Client(trust_env=False, verify=NO_TLS, timeout=30))
        yield Secured(gateway, http, good, other, plain, front, old)


def _config(urls: dict[str, tuple[str, FakeProvider | Http2Front | None]]) -> dict[str, Any]:
    backends = {}
    routes = {}
    for name, (url, trusted) in urls.items():
        authority = {} if trusted is None else {"caFile": str(trusted.ca_file)}
        backends[name] = {"provider": "custom", "url": url, **authority}
        routes[name] = {"models": [name], "defaultBackend": {"name": name}}
        if name in REFUSED:
            routes[f"{name}-first"] = {
                "models": [f"{name}-first"],
                "defaultBackend": {"name": name},
                "fallback": {"backends": ["name"]},
            }
    quick = {"retries": {"perBackend": 0}, "timeouts": {"connect": "3s"}}
    return {"gateway": quick, "backends": backends, "routes": routes}


@pytest.fixture
def secured(shared_secured: Secured) -> Secured:
    """Providers that are healthy and have not been asked."""
    for fake in shared_secured.fakes:
        fake.clear_faults()
        fake.clear()
    return shared_secured


@BOTH_MODES
@pytest.mark.parametrize("model", TRUSTED)
def test_provider_is_reached_when_its_certificate_is_right(secured: Secured, model: str, *, stream: bool) -> None:
    """By a name that Envoy resolves, or by an address that the certificate holds."""
    reply = secured.chat(model, stream=stream)
    assert reply.status_code == 200, reply.text
    assert b"hello" in reply.content
    assert reply.headers["x-kortex-backend"] == model


@pytest.mark.parametrize(
    ("model", "name"),
    [
        pytest.param("name", "localhost", id="name"),
        pytest.param("wildcard", "api.localhost", id="wildcard"),
        pytest.param("address", None, id="address"),
    ],
)
def test_provider_is_told_the_name_that_is_meant(secured: Secured, model: str, name: str | None) -> None:
    """In TLS (SNI, which has no room for addresses) and in HTTP."""
    secured.chat(model)
    (request,) = secured.good.requests
    assert request.server_name == name
    assert request.headers["host"] == f"{name or '127.0.0.1'}:{secured.good.port}"


@BOTH_MODES
@pytest.mark.parametrize("model", REFUSED)
def test_client_is_told_when_a_provider_cannot_be_trusted(secured: Secured, model: str, *, stream: bool) -> None:
    """Nothing of the request reaches whoever is there."""
    reply = secured.chat(model, stream=stream)
    assert reply.status_code == 503
    error = reply.json()["error"]
    assert error["code"] == REFUSED[model]
    assert f"'{model}'" in error["message"]
    assert "localhost" not in reply.text
    assert [fake.requests for fake in secured.fakes] == [[]] * len(secured.fakes)


@BOTH_MODES
@pytest.mark.parametrize("model", REFUSED)
def test_next_backend_answers_when_a_provider_cannot_be_trusted(secured: Secured, model: str, *, stream: bool) -> None:
    """As when nobody listens."""
    reply = secured.chat(f"{model}-first", stream=stream)
    assert reply.status_code == 200, reply.text
    assert b"good" in reply.content
    assert reply.headers["x-kortex-trail"].startswith(f"{model}=connect_failure;;")


# ---- HTTP/2


def protocol_of(request: Recorded) -> str:
    """How the front end was reached."""
    return request.headers["x-front-protocol"]


def words_of(stream: bytes) -> str:
    """The text of a whole stream."""
    assert stream.endswith(b"data: [DONE]\n\n")
    events = [orjson.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: {")]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events)


@BOTH_MODES
@pytest.mark.parametrize(("model", "protocol"), [("http2", "HTTP/2"), ("http1", "HTTP/1.1")])
def test_http_version_is_the_providers_choice(secured: Secured, model: str, protocol: str, *, stream: bool) -> None:
    """By ALPN."""
    reply = secured.chat(model, stream=stream)
    assert reply.status_code == 200
    assert b"hello" in reply.content
    (request,) = (secured.front if model == "http2" else secured.old).requests
    assert protocol_of(request) == protocol


def test_large_body_passes_over_http2(secured: Secured) -> None:
    """Ten megabytes, through the windows of every hop."""
    text = "0123456789abcdef" * (10 << 16)
    assert secured.chat("http2", text).status_code == 200
    assert secured.front.requests[0].json["messages"][0]["content"] == text


def test_streams_share_a_connection_over_http2(secured: Secured) -> None:
    """Twenty at once, each with its own words."""
    everyone = threading.Barrier(20, timeout=20)
    secured.front.always = SlowEvents(0.05)

    def ask(number: int) -> bytes:
        everyone.wait()
        return secured.chat("http2", f"number {number}", stream=True).content

    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(ask, range(20)))
    assert [words_of(reply) for reply in replies] == [f"front says: number {number}" for number in range(20)]
    assert {protocol_of(request) for request in secured.front.requests} == {"HTTP/2"}
    assert len({request.headers["x-front-connection"] for request in secured.front.requests}) < 20


def test_request_is_cancelled_over_http2_when_the_client_leaves(secured: Secured) -> None:
    """Only that stream ends: the connection serves the next request."""
    secured.chat("http2")
    secured.front.always = SlowEvents(0.2)
    with secured.http.stream(
        "POST",
        f"{secured.gateway.base_url}/chat/completions",
        json={"model": "http2", "messages": [{"role": "user", "content": "[words=200]"}], "stream": True},
    ) as reply:
        next(reply.iter_bytes())
    secured.front.wait_for(lambda fake: fake.active == 0)
    secured.front.always = None
    assert secured.chat("http2").status_code == 200
    connections = {request.headers["x-front-connection"] for request in secured.front.requests}
    assert len(connections) == 1


@pytest.mark.parametrize(
    ("fault", "status"),
    [pytest.param(Status(400), 400, id="400"), pytest.param(Status(503), 503, id="503")],
)
def test_error_passes_over_http2(secured: Secured, fault: Status, status: int) -> None:
    """As over HTTP/1.1."""
    secured.front.always = fault
    assert secured.chat("http2").status_code == status


def test_broken_stream_ends_with_an_error_event_over_http2(secured: Secured) -> None:
    """As over HTTP/1.1."""
    secured.front.always = ErrorAfter(2)
    assert (
        orjson.loads(secured.chat("http2", stream=True).content.split(b"\n\n")[-2][6:])["error"]["code"] == "overloaded"
    )
