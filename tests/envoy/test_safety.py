"""What may cross the gateway and what may not: headers, credentials, addresses, in both directions and in every log."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from extproc.admission.caller import Caller
from extproc.admission.settlement import Reservation
from extproc.exchange.assignment import Assignment, read_assignment
from extproc.openai.call import Operation
from tests.envoy.kortex_process import KortexProcess
from tests.fakes import (
    ErrorAfter,
    ErrorFirstEvent,
    ErrorInBody,
    ExtraHeaders,
    FakeProvider,
    Fault,
    ProviderError,
    Recorded,
    ResetBeforeHeaders,
    Status,
)

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares every client the loading of the system's authorities
KEY_A = "sk-proj-key-of-provider-a-0123456789"
KEY_B = "key/of+provider=b"
CLIENT_KEY = "sk-key-of-the-client"
SECRETS = (KEY_A, KEY_B, CLIENT_KEY)
BOTH_MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])

ALWAYS_SENT = {"host", "content-type", "content-length", "accept", "accept-encoding", "x-request-id"}
PASSED_ON = {
    "user-agent": "client/1.0",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate": "vendor=value",
    "idempotency-key": "once",
    "openai-beta": "feature=v1",
}
KEPT_HERE = {
    "Authorization": f"Bearer {CLIENT_KEY}",
    "Proxy-Authorization": f"Basic {CLIENT_KEY}",
    "X-Api-Key": CLIENT_KEY,
    "Api-Key": CLIENT_KEY,
    "x-goog-api-key": CLIENT_KEY,
    "Cookie": f"session={CLIENT_KEY}",
    "OpenAI-Organization": "org-of-the-client",
    "OpenAI-Project": "project-of-the-client",
    "X-Stainless-Lang": "python",
    "Forwarded": "for=192.0.2.60;host=evil.example",
    "Via": "1.1 proxy.client.example",
    "X-Forwarded-For": "10.9.8.7",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Client-Cert": "By=spiffe://x",
    "X-Real-Ip": "10.9.8.7",
    "True-Client-Ip": "10.9.8.7",
    "X-Original-Url": "/evil",
    "X-Rewrite-Url": "/evil",
    "X-Http-Method-Override": "DELETE",
    "Origin": "https://client.example",
    "Referer": "https://client.example/page",
    "Accept-Language": "de",
    "Range": "bytes=0-1",
    "If-None-Match": "*",
    "Expect-Ct": "x",
    "Te": "trailers",
    "X-Team": "research",
    "X-Anything": "else",
}
FORGED = Assignment(
    operation=Operation.EMBEDDINGS,
    asked="forged",
    model="forged",
    stream=False,
    include_usage=False,
    route="all",
    plan=("b", "a", "c"),
    retries=9,
    try_ms=60_000,
    idle_ms=60_000,
    arrived_ms=0,
    deadline_ms=1,
    caller=Caller(key="forged", tenant="forged", tags=("explain",)),
    end_user="forged",
    rule="forged",
    decision="forged",
    reservation=Reservation(id="forged", headers=(("x-ratelimit-limit-requests", "77"),), output=1),
    exchange="f" * 32,
    reason="forged",
    explain=True,
    probe=True,
)
"""What arrival alone may say, all of it otherwise."""
STEERING = {
    "x-kortex-assignment": FORGED.to_header().decode(),
    "X-Kortex-Trail": "z=context_length;400;1",
    "x-kortex-failover": "reset",
    "x-kortex-outcome": "z=reset;;1",
    "x-kortex-local-reply": "upstream_reset_before_response_started",
    "x-kortex-stage": "attempt",
    "x-kortex-target": "backend/b",
    "x_kortex_assignment": FORGED.to_header(Reservation(id="forged", output=1)).decode(),
    "X-Envoy-Max-Retries": "50",
    "x-envoy-retry-on": "5xx,gateway-error,retriable-status-codes",
    "x-envoy-retriable-status-codes": "400,404",
    "x-envoy-retriable-header-names": "content-type",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-upstream-rq-per-try-timeout-ms": "1",
    "x-envoy-expected-rq-timeout-ms": "1",
    "x-envoy-hedge-on-per-try-timeout": "true",
    "x-envoy-attempt-count": "9",
    "x-envoy-original-dst-host": "127.0.0.1:1",
    "x-envoy-upstream-alt-stat-name": "evil",
    "x-envoy-decorator-operation": "evil",
    "x-envoy-external-address": "10.9.8.7",
    "x-envoy-internal": "true",
    "x-envoy-original-path": "/evil",
    "x-envoy-force-trace": "true",
}


def name_of(names: list[str]) -> str:
    """A test's id."""
    return names[0] if len(names) == 1 else "together"


class Border:
    """The gateway between clients and three providers, of which c wants no key."""

    def __init__(self, gateway: KortexProcess, a: FakeProvider, b: FakeProvider, c: FakeProvider) -> None:
        self.gateway = gateway
        self.a, self.b, self.c = a, b, c
        self._http = httpx.Client(trust_env=False, verify=NO_TLS, timeout=20)

    def close(self) -> None:
        """End the connections that were kept."""
        self._http.close()

    def chat(self, model: str, given: Mapping[str, str] | None = None, /, **fields: Any) -> httpx.Response:
        """A chat call with a client's own credential and what headers are ``given``."""
        body = orjson.dumps({"model": model, "messages": [{"role": "user", "content": "hello"}], **fields})
        headers = {"Authorization": f"Bearer {CLIENT_KEY}", "content-type": "application/json", **(given or {})}
        return self._http.post(f"{self.gateway.base_url}/chat/completions", content=body, headers=headers)

    def asked(self) -> list[str]:
        """Which provider was asked how often."""
        return [fake.name for fake in (self.a, self.b, self.c) for _ in fake.requests]

    def admin(self, path: str) -> str:
        """What the admin listener says."""
        return self._http.get(self.gateway.admin_url + path).text


@pytest.fixture(scope="module")
def shared_border(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Border]:
    """Started once; use ``border``."""
    key_file = tmp_path_factory.mktemp("secrets") / "key-b"
    key_file.write_text(f"{KEY_B}\n")
    with (
        FakeProvider(name="a", api_key=KEY_A) as a,
        FakeProvider(name="b", api_key=KEY_B) as b,
        FakeProvider(name="c") as c,
        KortexProcess(_config(a, b, c, key_file), env={"KEY_A": KEY_A}, workers=2) as gateway,
        contextlib.closing(Border(gateway, a, b, c)) as border,
    ):
        yield border


def _config(a: FakeProvider, b: FakeProvider, c: FakeProvider, key_file: Path) -> dict[str, Any]:
    quick = {"retries": {"backoff": "10ms"}}
    return {
        # Each test wants its providers asked, whatever the one before did to them.
        "gateway": {"logLevel": "debug", "circuitBreaker": {"enabled": False}},
        "backends": {
            "a": {
                "provider": "openai",
                "url": a.url,
                "apiKey": {"env": "KEY_A"},
                "forwardHeaders": ["x-team", "Accept-Language"],
            },
            "b": {"provider": "custom", "url": b.url, "apiKey": {"file": str(key_file)}},
            "c": {"provider": "vllm", "url": c.url},
        },
        "routes": {
            "alone": {"models": ["alone", "any-*"], "defaultBackend": {"name": "a"}, **quick},
            "all": {"models": ["all"], "defaultBackend": {"name": "a"}, "fallback": {"backends": ["b", "c"]}, **quick},
            "last": {"models": ["last"], "defaultBackend": {"name": "c"}, **quick},
        },
    }


@pytest.fixture
def border(shared_border: Border) -> Border:
    """Providers that are healthy and have not been asked."""
    for fake in (shared_border.a, shared_border.b, shared_border.c):
        fake.clear_faults()
        fake.clear()
    return shared_border


# ---- to providers


@BOTH_MODES
def test_provider_gets_only_the_headers_it_may_see(border: Border, *, stream: bool) -> None:
    """The list is whole: what is not on it stays here, whatever its name."""
    reply = border.chat("last", {**KEPT_HERE, **STEERING, **PASSED_ON}, stream=stream)
    assert reply.status_code == 200
    received = dict(border.c.requests[0].header_list)
    assert received.keys() == ALWAYS_SENT | PASSED_ON.keys()
    assert {name: received[name] for name in PASSED_ON} == PASSED_ON
    assert received["host"] == f"127.0.0.1:{border.c.port}"
    assert received["content-type"] == "application/json"
    assert len(border.c.requests[0].header_list) == len(received)


def test_provider_gets_the_further_headers_that_its_backend_names(border: Border) -> None:
    """``forwardHeaders`` is for one backend: the next one in the plan does not see them."""
    border.a.always = Status(503)
    assert border.chat("all", {**KEPT_HERE, **PASSED_ON}).status_code == 200
    further = {"x-team": "research", "accept-language": "de"}
    for request in border.a.requests:
        assert request.headers.keys() == ALWAYS_SENT | PASSED_ON.keys() | further.keys() | {"authorization"}
        assert {name: request.headers[name] for name in further} == further
    assert border.b.requests[0].headers.keys() == ALWAYS_SENT | PASSED_ON.keys() | {"authorization"}


@BOTH_MODES
@pytest.mark.parametrize("fault", [pytest.param(Status(500), id="500"), pytest.param(ResetBeforeHeaders(), id="reset")])
def test_provider_gets_its_own_credential_at_each_attempt(border: Border, fault: Fault, *, stream: bool) -> None:
    """Nobody sees another's, nor the client's, whether it is asked first, again, or after others failed."""
    border.a.always = border.b.always = fault
    reply = border.chat("all", KEPT_HERE, stream=stream)
    assert reply.status_code == 200
    assert border.asked() == ["a", "a", "b", "b", "c"]
    assert [
        request.headers.get("authorization") for fake in (border.a, border.b, border.c) for request in fake.requests
    ] == [
        *[f"Bearer {KEY_A}"] * 2,
        *[f"Bearer {KEY_B}"] * 2,
        None,
    ]
    for fake, own in ((border.a, KEY_A), (border.b, KEY_B), (border.c, None)):
        for request in fake.requests:
            assert not any(secret in whole(request) for secret in SECRETS if secret != own)


def whole(request: Recorded) -> str:
    """Everything a provider received, as text."""
    return f"{request.path}?{request.query}\n{request.header_list}\n{request.body.decode()}"


def test_client_cannot_choose_the_address_by_host(border: Border) -> None:
    """The Host header leads nowhere else, and is not the provider's."""
    border.chat("last", {"Host": f"127.0.0.1:{border.b.port}", "X-Forwarded-Host": f"127.0.0.1:{border.b.port}"})
    assert border.asked() == ["c"]
    assert border.c.requests[0].headers["host"] == f"127.0.0.1:{border.c.port}"


@pytest.mark.parametrize(
    "field",
    [
        "api_base",
        "base_url",
        "api_key",
        "url",
        "host",
        "provider",
        "custom_llm_provider",
        "organization",
        "backend",
        "backends",
        "route",
        "plan",
        "fallbacks",
        "extra_headers",
        "headers",
        "default_headers",
        "extra_body",
        "forwardHeaders",
    ],
)
def test_client_cannot_choose_address_or_header_by_the_body(border: Border, field: str) -> None:
    """To the gateway these are unknown fields: they pass as they are and change nothing."""
    value = {"Authorization": f"Bearer {CLIENT_KEY}", "url": border.b.url, "x-kortex-failover": "1"}
    for given in (border.b.url, value, ["b"]):
        border.c.clear()
        assert border.chat("last", {"x-request-id": "1", "user-agent": "u"}, **{field: given}).status_code == 200
        request = border.c.requests[0]
        assert request.json[field] == given
        assert request.path == "/v1/chat/completions"
        assert request.headers.keys() == ALWAYS_SENT | {"user-agent"}
        assert request.headers["host"] == f"127.0.0.1:{border.c.port}"
    assert border.asked() == ["c"]


@pytest.mark.parametrize(
    "model", ["any-/../../admin", "any-?x=1#y", "any-%2e%2e", "any-http://127.0.0.1:1/", 'any-"]},{"']
)
def test_client_cannot_choose_the_address_by_the_models_name(border: Border, model: str) -> None:
    """It is part of the body and of nothing else."""
    reply = border.chat(model)
    assert reply.status_code == 200
    assert border.a.requests[0].path == "/v1/chat/completions"
    assert border.a.requests[0].query == ""
    assert border.a.requests[0].json["model"] == model
    assert reply.json()["model"] == model


@BOTH_MODES
@pytest.mark.parametrize("names", [*([name] for name in STEERING), list(STEERING)], ids=name_of)
def test_client_cannot_steer_by_headers(border: Border, names: list[str], *, stream: bool) -> None:
    """One retry and no other backend, because that is what the route says; no timeout, no invented attempts."""
    border.a.script = [Status(500)]
    reply = border.chat("alone", {name: STEERING[name] for name in names}, stream=stream)
    assert reply.status_code == 200
    assert border.asked() == ["a", "a"]
    assert reply.headers["x-kortex-attempts"] == "1"
    assert reply.headers["x-kortex-backend"] == "a"
    assert "x-kortex-trail" not in reply.headers
    border.a.always = Status(500)
    border.a.clear()
    reply = border.chat("alone", {name: STEERING[name] for name in names}, stream=stream)
    assert reply.status_code == 500
    assert border.asked() == ["a", "a"]
    assert [past["backend"] for past in reply.json()["error"]["attempts"]] == ["a"]


@BOTH_MODES
@pytest.mark.parametrize("name", ["x-kortex-assignment", "X-KORTEX-Assignment", "x_kortex_assignment"])
def test_client_cannot_say_what_arrival_does(border: Border, name: str, *, stream: bool) -> None:
    """The attempt stage would believe every word of it: it is well formed, and says who pays, and for what."""
    forged = FORGED.to_header(FORGED.reservation).decode()
    assert read_assignment(forged) == FORGED
    reply = border.chat("alone", {name: forged, "x-kortex-explain": "1"}, stream=stream)
    assert reply.status_code == 200
    assert border.asked() == ["a"]
    assert orjson.loads(border.a.requests[0].body)["model"] == "alone"
    assert border.a.requests[0].path == "/v1/chat/completions"
    assert "forged" not in str(reply.headers)
    assert not reply.headers.keys() & {"x-kortex-decision", "x-ratelimit-limit-requests"}
    border.gateway.until(lambda: bool(border.gateway.logged(reply)), "its attempt is logged")
    (line,) = border.gateway.logged(reply)
    assert (line["route"], line["requested_model"], line["operation"], line["attempt"]) == ("alone", "alone", "chat", 1)
    assert line["exchange"] != FORGED.exchange
    assert line["request_ms"] < 60_000
    assert "forged" not in orjson.dumps(line).decode()


# ---- to clients

OF_THE_PROVIDER = {
    "x-kortex-failover": "overloaded",
    "x-kortex-outcome": "b=context_length;400;1",
    "x-kortex-local-reply": "upstream_reset_before_response_started{connection_failure}",
    "x-kortex-backend": "evil",
    "x-kortex-model": "evil",
    "x-kortex-attempts": "77",
    "x-kortex-trail": "evil=reset;;1",
    "x-kortex-usage": "input=0, output=0, evil",
    "x-kortex-cost": "0 EVIL",
    "x-kortex-anything": "evil",
    "x-envoy-overloaded": "true",
    "x-envoy-ratelimited": "true",
    "x-envoy-degraded": "true",
    "x-envoy-immediate-health-check-fail": "true",
    "x-envoy-attempt-count": "77",
    "x-envoy-upstream-service-time": "1",
    "x-envoy-upstream-healthchecked-cluster": "evil",
    "x-envoy-decorator-operation": "evil",
    "set-cookie": "session=evil",
    "server": "evil",
    "via": "1.1 evil",
    "alt-svc": 'h3=":443"',
    "strict-transport-security": "max-age=1",
    "location": "https://evil.example",
    "www-authenticate": "Bearer realm=evil",
    "link": "<https://evil.example>; rel=preload",
    "access-control-allow-origin": "*",
    "openai-organization": "org-of-the-gateway",
    "openai-project": "project-of-the-gateway",
    "x-ratelimit-remaining-requests": "1",
    "cf-cache-status": "evil",
    "refresh": "0; url=https://evil.example",
}
SHOWN = {"x-kortex-backend", "x-kortex-model", "x-kortex-attempts", "content-type", "date", "server", "x-request-id"}


@BOTH_MODES
@pytest.mark.parametrize("names", [*([name] for name in OF_THE_PROVIDER), list(OF_THE_PROVIDER)], ids=name_of)
def test_provider_cannot_steer_or_leak_by_headers(border: Border, names: list[str], *, stream: bool) -> None:
    """Its answer is an answer: nobody else is asked, and the client sees the list of headers and no other."""
    border.a.always = ExtraHeaders({name: OF_THE_PROVIDER[name] for name in names})
    reply = border.chat("all", stream=stream)
    assert reply.status_code == 200
    assert border.asked() == ["a"]
    of_answers = {"x-kortex-upstream-request-id", "openai-processing-ms", "openai-version"}
    of_mode = {"transfer-encoding"} if stream else {"content-length", "x-kortex-usage"}
    assert reply.headers.keys() == SHOWN | of_answers | of_mode
    assert "evil" not in str(reply.headers).lower()
    assert reply.headers["server"] == "kortex"
    assert reply.headers["x-kortex-attempts"] == "1"


@BOTH_MODES
def test_provider_cannot_steer_or_leak_by_headers_of_an_error(border: Border, *, stream: bool) -> None:
    """A refusal stays one; how often it was asked is counted here."""
    border.a.always = Status(400) | ExtraHeaders(OF_THE_PROVIDER)
    reply = border.chat("all", stream=stream)
    assert reply.status_code == 400
    assert border.asked() == ["a"]
    assert reply.headers.keys() == SHOWN | {"content-length"}
    assert "evil" not in f"{reply.headers}{reply.text}".lower()


# The one thing that is heeded: an Envoy in front of the provider says that asking again at once is of no use.
SPARED = "x-envoy-ratelimited"


@BOTH_MODES
@pytest.mark.parametrize(
    ("names", "tries"),
    [
        pytest.param([SPARED], 1, id="ratelimited"),
        pytest.param([name for name in OF_THE_PROVIDER if name != SPARED], 2, id="all-others"),
    ],
)
def test_provider_cannot_keep_the_next_backend_from_being_asked(
    border: Border, names: list[str], tries: int, *, stream: bool
) -> None:
    """Nor tell how often it was asked itself."""
    border.a.always = Status(503, headers={name: OF_THE_PROVIDER[name] for name in names})
    reply = border.chat("all", stream=stream)
    assert reply.status_code == 200
    assert reply.headers["x-kortex-backend"] == "b"
    assert reply.headers["x-kortex-trail"].startswith("a=overloaded;503;")
    assert border.asked() == [*["a"] * tries, "b"]
    border.gateway.until(lambda: len(border.gateway.logged(reply)) == 2, "both attempts are logged")
    assert {line["backend"]: line["tries"] for line in border.gateway.logged(reply)} == {"a": tries, "b": 1}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_not_followed(border: Border, status: int) -> None:
    """The body and the credential go where the operator said, and nowhere else."""
    border.a.always = Status(status, headers={"location": f"{border.b.base_url}/v1/chat/completions"})
    reply = border.chat("alone")
    assert reply.status_code == 502
    assert border.asked() == ["a"]
    assert "location" not in reply.headers
    assert str(border.b.port) not in reply.text


QUOTED = ProviderError(f"The key {KEY_A} may not use this.", "invalid_request_error", KEY_A, f"key {KEY_A}")


@pytest.mark.parametrize(
    ("fault", "stream"),
    [
        pytest.param(Status(400, QUOTED.document), False, id="400"),
        pytest.param(Status(400, QUOTED.document), True, id="400-to-a-stream"),
        pytest.param(Status(401, QUOTED.document), False, id="401"),
        pytest.param(Status(403, QUOTED.document), False, id="403"),
        pytest.param(Status(429, QUOTED.document), False, id="429"),
        pytest.param(Status(500, f"Error: Bearer {KEY_A}".encode()), False, id="500-text"),
        pytest.param(Status(404, {"detail": [{"headers": {"authorization": KEY_A}}]}), False, id="404-detail"),
        pytest.param(ErrorInBody(QUOTED), False, id="in-a-200"),
        pytest.param(ErrorFirstEvent(QUOTED), True, id="first-event"),
        pytest.param(ErrorAfter(2, QUOTED), True, id="midway"),
        pytest.param(Status(400, ProviderError("x" * 1_985 + KEY_A).document), False, id="where-a-long-message-is-cut"),
    ],
)
def test_error_is_redacted_when_it_quotes_our_key(border: Border, fault: Fault, *, stream: bool) -> None:
    """Whole or in part, in whichever field."""
    border.a.always = fault
    reply = border.chat("alone", stream=stream)
    assert b'"error"' in reply.content
    assert KEY_A[:12] not in f"{reply.headers}{reply.text}"


def test_401_is_put_in_our_own_words(border: Border) -> None:
    """Providers quote a part of the key there, with stars in its middle."""
    border.a.always = Status(401, ProviderError("Incorrect API key provided: sk-pr***6789.").document)
    reply = border.chat("alone")
    assert reply.status_code == 401
    assert "6789" not in reply.text
    assert "refused the gateway's credential" in reply.json()["error"]["message"]


# ---- in what operators keep


def test_secrets_appear_nowhere(border: Border) -> None:
    """Not in the log at its most talkative, the access log, the effective configuration, or either metrics."""
    faults = [
        None,
        Status(400),
        Status(401, QUOTED.document),
        Status(500, f"Bearer {KEY_A}".encode()),
        ErrorInBody(QUOTED),
    ]
    for fault in faults:
        border.a.always = fault
        for model in ("alone", "all"):
            reply = border.chat(model, {**KEPT_HERE, **STEERING})
            assert not any(secret in f"{reply.headers}{reply.text}" for secret in SECRETS)
    kept = {
        "log": border.gateway.stderr,
        "output": border.gateway.stdout,
        "config": border.admin("/config"),
        "metrics": border.admin("/metrics"),
        "envoy": border.admin("/metrics/envoy"),
    }
    assert '"env": "KEY_A"' in kept["config"]
    assert "kortex_attempts" in kept["metrics"]
    assert "envoy_cluster" in kept["envoy"]
    assert {name for name, text in kept.items() if any(secret in text for secret in SECRETS)} == set()


def test_metrics_have_no_label_that_a_client_or_a_provider_chose(border: Border) -> None:
    """Else anyone could fill the memory of whoever scrapes them."""
    border.a.script = [None, Status(400, ProviderError(code="marked-by-provider").document)]
    for model in ("any-marked-by-client", "any-marked-by-client", "marked-by-client"):
        border.chat(model, {"x-request-id": "marked-by-client", "user-agent": "marked-by-client"})
    assert "marked-by" not in border.admin("/metrics") + border.admin("/metrics/envoy")
