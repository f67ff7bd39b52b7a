"""The client's side of the gateway as OpenAI's API has it: models, request ids, and every refusal in OpenAI's JSON."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import FakeProvider, Silence, Status

BODY_LIMIT = 1 << 20
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares every client the loading of the system's authorities
KEY = "sk-of-the-provider"
CHAT = {"model": "gpt", "messages": [{"role": "user", "content": "hello"}]}
CHAT_PATH = "/v1/chat/completions"
INVALID = "invalid_request_error"
OPERATIONS = (CHAT_PATH, "/v1/completions", "/v1/embeddings")


class Client:
    """Speaks to the gateway from outside."""

    def __init__(self, gateway: KortexProcess, provider: FakeProvider) -> None:
        self.gateway = gateway
        self.provider = provider
        self._http = httpx.Client(trust_env=False, verify=NO_TLS, timeout=20)

    def close(self) -> None:
        """End the connections that were kept."""
        self._http.close()

    def ask(self, method: str, path: str, content: bytes | None = None, **headers: str) -> httpx.Response:
        """One request."""
        return self._http.request(method, self.gateway.origin + path, content=content, headers=headers)

    def post(self, body: bytes, path: str = CHAT_PATH, **headers: str) -> httpx.Response:
        """A POST of JSON text."""
        return self.ask("POST", path, body, **{"content-type": "application/json", **headers})

    def send(self, request: bytes) -> tuple[HTTPResponse, bytes]:
        """These very bytes; the reply and its body."""
        with socket.create_connection(("127.0.0.1", urlsplit(self.gateway.origin).port), 10) as connection:
            connection.sendall(request)
            reply = HTTPResponse(connection, method=request.partition(b" ")[0].decode("latin-1"))
            reply.begin()
            return reply, reply.read()


@pytest.fixture(scope="module")
def shared_client() -> Iterator[Client]:
    """Started once; use ``client``."""
    with FakeProvider(name="a", api_key=KEY) as provider:
        config = {
            "gateway": {"bodyLimit": BODY_LIMIT},
            "backends": {"a": {"provider": "openai", "url": provider.url, "model": "inner", "apiKey": {"env": "KEY"}}},
            "routes": {
                "main": {"models": ["gpt", "org/model", "any-*"], "defaultBackend": {"name": "a"}},
                "by-its-name": {"models": ["inn*"], "defaultBackend": {"name": "a"}},
                "short": {
                    "models": ["short"],
                    "defaultBackend": {"name": "a"},
                    "timeouts": {"firstToken": "300ms", "unstreamed": "300ms"},
                },
            },
        }
        with (
            KortexProcess(config, env={"KEY": KEY}) as gateway,
            contextlib.closing(Client(gateway, provider)) as client,
        ):
            yield client


@pytest.fixture
def client(shared_client: Client) -> Client:
    """A gateway whose provider is healthy and has not been asked."""
    shared_client.provider.clear_faults()
    shared_client.provider.clear()
    return shared_client


def chat(**fields: Any) -> bytes:
    """A chat call's JSON with these fields changed."""
    return orjson.dumps({**CHAT, **fields})


def nested(depth: int) -> bytes:
    """A chat call with arrays inside each other, the outermost object counted."""
    return orjson.dumps(CHAT)[:-1] + b',"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def head(*lines: str) -> bytes:
    """A request's head."""
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def assert_error(
    reply: httpx.Response,
    status: int,
    *,
    type: str = INVALID,  # noqa: A002 - OpenAI's name for it
    code: str | None = None,
    param: str | None = None,
    says: str = "",
) -> None:
    """A plain JSON reply with OpenAI's four fields, and an id to ask about it by."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    assert int(reply.headers["content-length"]) == len(reply.content)
    assert reply.headers["x-request-id"]
    error = reply.json()["error"]
    assert set(error) - {"attempts"} == {"message", "type", "param", "code"}
    assert (error["type"], error["code"], error["param"]) == (type, code, param)
    assert says in error["message"]


# ---- refusals by the body


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        pytest.param(b"", None, "the body is empty", id="empty"),
        pytest.param(b" \n", None, "the body is empty", id="blank"),
        pytest.param(b"{", None, "at line 1 column 1", id="cut"),
        pytest.param(b'{"model":\n gpt}', None, "at line 2 column 2", id="bare-word"),
        pytest.param(b"hello", None, "at line 1 column 1", id="no-json"),
        pytest.param(chat() + b"{}", None, "trailing characters", id="two-documents"),
        pytest.param(b'{"n":1,"n":2}', None, 'duplicate key "n" at line 1', id="duplicate"),
        pytest.param(b'{"x":{"n":1,"\\u006e":2}}', None, 'duplicate key "n"', id="duplicate-inside-escaped"),
        pytest.param(chat()[:-1] + b',"x":NaN}', None, "at line 1", id="not-a-number"),
        pytest.param(b"[]", None, "must be a JSON object, not an array", id="array"),
        pytest.param(b"null", None, "must be a JSON object, not null", id="null"),
        pytest.param(b'"text"', None, "must be a JSON object, not a string", id="string"),
        pytest.param(b'{"model":"\xff"}', None, "not valid UTF-8 at byte 10", id="latin-1"),
        pytest.param("{}".encode("utf-16"), None, "not valid UTF-8", id="utf-16"),
        pytest.param(b"\xef\xbb\xbf{}", None, "byte order mark", id="byte-order-mark"),
        pytest.param(b'{"x":"\\ud800"}', None, "surrogate", id="half-a-pair"),
        pytest.param(nested(257), None, "nesting deeper than 256", id="depth-257"),
        pytest.param(nested(100_000), None, "nesting deeper than 256", id="depth-100000"),
        pytest.param(b"{}", "model", "Missing required parameter: 'model'", id="no-model"),
        pytest.param(chat(max_tokens="5000"), "max_tokens", "an integer, but got a string", id="limit-in-quotes"),
        pytest.param(chat(n=2.0), "n", "an integer, but got a decimal number", id="decimal-choices"),
        pytest.param(chat(model=""), "model", "an empty string", id="empty-model"),
        pytest.param(chat(model=None), "model", "got null", id="null-model"),
        pytest.param(chat(model=4), "model", "got an integer", id="number-as-model"),
        pytest.param(chat(model="any-\n"), "model", "cannot be printed", id="line-break-in-model"),
        pytest.param(chat(model="any-" + "x" * 100_000), "model", "longer than", id="endless-model"),
        pytest.param(b'{"model":"gpt"}', "messages", "Missing required parameter: 'messages'", id="no-messages"),
        pytest.param(chat(messages="hello"), "messages", "expected an array", id="string-as-messages"),
        pytest.param(chat(messages=[]), "messages", "an empty array", id="empty-messages"),
        pytest.param(chat(messages=["hello"]), "messages[0]", "expected an object", id="string-as-message"),
        pytest.param(chat(stream="yes"), "stream", "expected true or false", id="string-as-stream"),
        pytest.param(
            chat(stream=True, stream_options=[]), "stream_options", "expected an object", id="array-as-options"
        ),
        pytest.param(chat(stream_options={}), "stream_options", "only allowed when 'stream'", id="options-unstreamed"),
        pytest.param(
            chat(stream=True, stream_options={"include_usage": 1}),
            "stream_options.include_usage",
            "expected true or false",
            id="number-as-wish-for-usage",
        ),
    ],
)
def test_body_is_refused_when_it_is_no_call(client: Client, body: bytes, param: str | None, says: str) -> None:
    """The error says what is wrong and where; no provider hears of it."""
    assert_error(client.post(body), 400, param=param, says=says)
    assert client.provider.requests == []


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        pytest.param("/v1/completions", {"model": "gpt"}, "prompt", id="no-prompt"),
        pytest.param("/v1/completions", {"model": "gpt", "prompt": {}}, "prompt", id="object-as-prompt"),
        pytest.param("/v1/embeddings", {"model": "gpt"}, "input", id="no-input"),
        pytest.param("/v1/embeddings", {"model": "gpt", "input": 1}, "input", id="number-as-input"),
        pytest.param(
            "/v1/embeddings", {"model": "gpt", "input": "x", "stream": True}, "stream", id="streamed-embeddings"
        ),
    ],
)
def test_body_is_refused_when_it_is_for_another_operation(
    client: Client, path: str, body: dict[str, Any], param: str
) -> None:
    """Each operation has its own required field."""
    assert_error(client.post(orjson.dumps(body), path), 400, param=param)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("path", OPERATIONS)
def test_unknown_model_is_not_found(client: Client, path: str, *, stream: bool) -> None:
    """At every operation, and as plain JSON also where a stream was wanted."""
    fields = {"messages": CHAT["messages"], "prompt": "x", "input": "x"}
    wish = {"stream": True} if stream and path != "/v1/embeddings" else {}
    reply = client.post(orjson.dumps({"model": "nobody/has-it", **fields, **wish}), path)
    assert_error(reply, 404, code="model_not_found", param="model", says="'nobody/has-it'")


def test_nesting_of_256_is_accepted(client: Client) -> None:
    """The deepest that passes, and it passes whole."""
    reply = client.post(nested(256))
    assert reply.status_code == 200
    assert client.provider.requests[0].body == nested(256).replace(b'"gpt"', b'"inner"')


@pytest.mark.parametrize("coding", ["gzip", "br", "\xff"])
def test_encoded_body_is_refused(client: Client, coding: str) -> None:
    """It could not be read, so it is not guessed at."""
    body = chat()
    request = head(
        f"POST {CHAT_PATH} HTTP/1.1", "host: k", f"content-encoding: {coding}", f"content-length: {len(body)}"
    )
    reply, content = client.send(request + body)
    assert reply.status == 400
    assert "content-encoding" in orjson.loads(content)["error"]["message"]


# ---- refusals by path and method


@pytest.mark.parametrize(
    ("path", "says"),
    [
        pytest.param("/", "Unknown request URL: POST /.", id="root"),
        pytest.param("/v1", "POST /v1.", id="version"),
        pytest.param("/v1/responses", "There are /v1/chat/completions,", id="operation-we-lack"),
        pytest.param("/chat/completions", "Did you mean /v1/chat/completions?", id="without-version"),
        pytest.param("/models", "Did you mean /v1/models?", id="models-without-version"),
        pytest.param("/chat/completions/", "Did you mean /v1/chat/completions?", id="without-version-slash-behind"),
        pytest.param("/v1/chat/completions/x", "POST /v1/chat/completions/x.", id="something-behind"),
        pytest.param("/v1/chat%2Fcompletions", "%2F", id="escaped-slash"),
        pytest.param("/V1/chat/completions", "POST /V1/", id="capital"),
        pytest.param("/v1/chat/completions/../../x", "POST /v1/x.", id="dots"),
        pytest.param("/v1/%ff?api_key=secret", "POST /v1/%ff.", id="no-utf-8"),
    ],
)
def test_unknown_path_is_not_found(client: Client, path: str, says: str) -> None:
    """The query is not repeated: people put keys there."""
    assert_error(client.post(chat(), path), 404, code="unknown_url", says=says)
    assert client.provider.requests == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions?api-version=1",
        "//v1//chat/completions",
        "/v1/x/../completions",
        "/v1/chat/completions/",
        "/v1/completions//?api-version=1",
    ],
)
def test_path_is_known_when_it_is_only_spelled_otherwise(client: Client, path: str) -> None:
    """Envoy normalises it before arrival reads it; the provider gets our own path, without the client's query."""
    assert client.post(orjson.dumps({**CHAT, "prompt": "x"}), path).status_code == 200
    assert client.provider.requests[0].path in OPERATIONS
    assert client.provider.requests[0].query == ""


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"])
@pytest.mark.parametrize("path", OPERATIONS)
def test_operation_is_refused_when_not_posted(client: Client, path: str, method: str) -> None:
    """405 with the method that it has."""
    reply = client.ask(method, path)
    assert reply.headers["allow"] == "POST"
    if method == "HEAD":
        assert (reply.status_code, reply.content) == (405, b"")
    else:
        assert_error(reply, 405, code="method_not_supported", says=f"{method} on {path}: use POST")
    assert client.provider.requests == []


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/", "/v1/models/gpt"])
def test_models_are_refused_when_posted(client: Client, path: str) -> None:
    """They are only read."""
    reply = client.post(chat(), path)
    assert_error(reply, 405, code="method_not_supported")
    assert reply.headers["allow"] == "GET"


# ---- models


@pytest.mark.parametrize("path", ["/v1/models?limit=2", "/v1/models/", "/v1/models/?limit=2"])
def test_models_are_listed(client: Client, path: str) -> None:
    """Those that have a name of their own, and where a route has only globs, its backend's."""
    reply = client.ask("GET", path)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    document = reply.json()
    assert document["object"] == "list"
    assert [model["id"] for model in document["data"]] == ["gpt", "org/model", "short", "inner"]
    assert all(
        model.keys() == {"id", "object", "created", "owned_by"}
        and model["object"] == "model"
        and isinstance(model["created"], int)
        and model["owned_by"] == "openai"
        for model in document["data"]
    )


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param("gpt", "gpt", id="plain"),
        pytest.param("org/model", "org/model", id="slash"),
        pytest.param("org%2Fmodel", "org/model", id="escaped-slash"),
        pytest.param("%67pt", "gpt", id="escaped-letter"),
        pytest.param("any-thing", "any-thing", id="glob"),
        pytest.param("gpt?x=/y", "gpt", id="query"),
    ],
)
def test_model_is_described(client: Client, path: str, name: str) -> None:
    """Also one that only a glob knows."""
    reply = client.ask("GET", f"/v1/models/{path}")
    assert reply.status_code == 200
    assert reply.json()["id"] == name
    assert reply.json()["object"] == "model"


@pytest.mark.parametrize("path", ["nope", "org", "org/model/", "%ff", "%20"])
def test_model_is_not_found_when_no_route_has_it(client: Client, path: str) -> None:
    """As for a call."""
    assert_error(client.ask("GET", f"/v1/models/{path}"), 404, code="model_not_found", param="model")


# ---- what is no request at all


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        pytest.param(b"hello\r\n\r\n", 400, None, id="garbage"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), 400, None, id="tls"),
        pytest.param(head("BREW /v1/models HTTP/1.1", "host: k"), 400, None, id="unknown-method"),
        pytest.param(head("GET /v1/models HTTP/1.1"), 400, None, id="no-host"),
        pytest.param(head("GET /v1/models HTTP/1.1", "host: k", "bad header"), 400, None, id="header-without-colon"),
        pytest.param(head("GET /v1/\xff HTTP/1.1", "host: k"), 400, None, id="raw-byte-in-path"),
        pytest.param(head("CONNECT other:443 HTTP/1.1", "host: other:443"), 404, "unknown_url", id="connect"),
        pytest.param(
            head("GET /v1/models HTTP/1.1", "host: k", "connection: upgrade", "upgrade: websocket"),
            403,
            "upgrade_not_supported",
            id="websocket",
        ),
        pytest.param(
            head(f"POST {CHAT_PATH} HTTP/1.1", "host: k", "content-length: 5", "transfer-encoding: chunked"),
            400,
            None,
            id="two-lengths",
        ),
        pytest.param(
            head(f"POST {CHAT_PATH} HTTP/1.1", "host: k", "content-length: -5"), 400, None, id="negative-length"
        ),
        pytest.param(
            head(f"POST {CHAT_PATH} HTTP/1.1", "host: k", "transfer-encoding: chunked") + b"zz\r\n",
            400,
            None,
            id="bad-chunk",
        ),
        pytest.param(
            head(f"POST {CHAT_PATH} HTTP/1.1", "host: k", "transfer-encoding: gzip"),
            501,
            "transfer_encoding_not_supported",
            id="unknown-transfer-encoding",
        ),
    ],
)
def test_connection_gets_openai_json_when_it_speaks_no_plain_http(
    client: Client, request_bytes: bytes, status: int, code: str | None
) -> None:
    """Envoy refuses these itself, in our words; they are the client's fault, and the gateway goes on."""
    reply, content = client.send(request_bytes)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]
    error = orjson.loads(content)["error"]
    assert (error["type"], error["code"], error["param"]) == (INVALID, code, None)
    assert error["message"]
    assert client.ask("GET", "/v1/models").status_code == 200


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_http_1_0_is_answered(client: Client, *, stream: bool) -> None:
    """Load balancers' checks and old tools still speak it; the connection ends with the reply."""
    body = chat(stream=stream)
    reply, content = client.send(head(f"POST {CHAT_PATH} HTTP/1.0", "host: k", f"content-length: {len(body)}") + body)
    assert (reply.status, reply.version) == (200, 10)
    assert reply.headers["connection"] == "close"
    assert reply.headers["transfer-encoding"] is None
    assert content == client.post(body).content


def test_wish_to_upgrade_to_http2_is_passed_over(client: Client) -> None:
    """As RFC 9110 lets a server do; curl --http2 and Java's client send it on plain connections."""
    body = chat()
    lines = [f"POST {CHAT_PATH} HTTP/1.1", "host: k", "connection: upgrade, http2-settings", "upgrade: h2c"]
    reply, content = client.send(head(*lines, "http2-settings: AAMAAABkAAQ", f"content-length: {len(body)}") + body)
    assert reply.status == 200
    assert orjson.loads(content)["choices"][0]["message"]["content"] == "a says: hello"


def test_body_is_awaited_when_the_client_expects_a_100(client: Client) -> None:
    """As curl does with bodies over a megabyte."""
    body = chat()
    with socket.create_connection(("127.0.0.1", urlsplit(client.gateway.origin).port), 10) as connection:
        lines = [f"POST {CHAT_PATH} HTTP/1.1", "host: k", "expect: 100-continue", f"content-length: {len(body)}"]
        connection.sendall(head(*lines))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        reply = HTTPResponse(connection)
        reply.begin()
        assert reply.status == 200
    assert "expect" not in client.provider.requests[0].headers


def test_http2_is_spoken_without_tls(client: Client) -> None:
    """With prior knowledge: answers, streams and refusals."""
    with httpx.Client(http1=False, http2=True, verify=NO_TLS, base_url=client.gateway.origin) as http2:
        replies = [
            http2.post(CHAT_PATH, content=chat()),
            http2.post(CHAT_PATH, content=chat(stream=True)),
            http2.post(CHAT_PATH, content=b"{"),
            http2.get("/v1/models"),
        ]
    assert [(reply.http_version, reply.status_code) for reply in replies] == [
        ("HTTP/2", 200),
        ("HTTP/2", 200),
        ("HTTP/2", 400),
        ("HTTP/2", 200),
    ]
    assert replies[1].content.endswith(b"data: [DONE]\n\n")


def test_connection_serves_many_requests(client: Client) -> None:
    """Answers, streams, model lists and refusals one after the other; only a 400 may end it."""
    limits = httpx.Limits(max_connections=1)
    with httpx.Client(base_url=client.gateway.origin, verify=NO_TLS, limits=limits) as one:
        for _ in range(3):
            for reply in (
                one.post(CHAT_PATH, content=chat()),
                one.post(CHAT_PATH, content=chat(stream=True)),
                one.post(CHAT_PATH, content=chat(model="nope")),
                one.get("/v1/models"),
                one.get("/v1/nothing"),
            ):
                assert reply.headers.get("connection") is None
                assert reply.headers["x-request-id"]


# ---- the request's id


def _answer(client: Client, **headers: str) -> httpx.Response:
    return client.post(chat(), **headers)


def _stream(client: Client, **headers: str) -> httpx.Response:
    return client.post(chat(stream=True), **headers)


def _provider_error(client: Client, **headers: str) -> httpx.Response:
    client.provider.always = Status(400)
    return client.post(chat(), **headers)


def _timeout(client: Client, **headers: str) -> httpx.Response:
    client.provider.always = Silence()
    return client.post(chat(model="short"), **headers)


def _refusal(client: Client, **headers: str) -> httpx.Response:
    return client.post(b"{", **headers)


def _models(client: Client, **headers: str) -> httpx.Response:
    return client.ask("GET", "/v1/models", None, **headers)


def _too_large(client: Client, **headers: str) -> httpx.Response:
    return client.post(bytes(2 * BODY_LIMIT), **headers)


EVERY_KIND = pytest.mark.parametrize(
    ("ask", "status"),
    [
        pytest.param(_answer, 200, id="answer"),
        pytest.param(_stream, 200, id="stream"),
        pytest.param(_provider_error, 400, id="providers-error"),
        pytest.param(_timeout, 504, id="timeout"),
        pytest.param(_refusal, 400, id="refusal"),
        pytest.param(_models, 200, id="models"),
        pytest.param(_too_large, 413, id="too-large"),
    ],
)


@EVERY_KIND
def test_request_id_is_the_clients_own(client: Client, ask: Callable[..., httpx.Response], status: int) -> None:
    """On every reply, whoever made it, and at the provider."""
    reply = ask(client, **{"x-request-id": "trace/42 of me"})
    assert reply.status_code == status
    assert reply.headers.get_list("x-request-id") == ["trace/42 of me"]
    assert all(request.headers["x-request-id"] == "trace/42 of me" for request in client.provider.requests)


@EVERY_KIND
def test_request_id_is_made_when_the_client_has_none(
    client: Client, ask: Callable[..., httpx.Response], status: int
) -> None:
    """A new one for each request; the provider gets the same."""
    ids = []
    for _ in range(2):
        client.provider.clear()
        reply = ask(client)
        assert reply.status_code == status
        ids += reply.headers.get_list("x-request-id")
        assert all(request.headers["x-request-id"] == ids[-1] for request in client.provider.requests)
    assert len(set(ids)) == 2
    assert all(len(made) == 36 for made in ids)


@pytest.mark.parametrize(
    ("given", "returned"),
    [
        pytest.param(b"x" * 8_000, b"x" * 8_000, id="long"),
        pytest.param("anfrage-ä".encode(), "anfrage-ä".encode(), id="utf-8"),
        pytest.param(b"a\xffb", b"a\xffb", id="no-utf-8"),
        pytest.param(b'"} {"x', b'"} {"x', id="quotes"),
        pytest.param(b" padded ", b"padded", id="padded"),
    ],
)
def test_request_id_passes_when_it_is_odd(client: Client, given: bytes, returned: bytes) -> None:
    """To the provider, back to the client, and into a log line that stays JSON."""
    body = chat()
    lines = head(f"POST {CHAT_PATH} HTTP/1.1", "host: k", f"content-length: {len(body)}")[:-2]
    reply, _ = client.send(lines + b"x-request-id: " + given + b"\r\n\r\n" + body)
    assert reply.status == 200
    assert reply.headers["x-request-id"].encode("latin-1") == returned
    assert client.provider.requests[0].headers["x-request-id"].encode("latin-1") == returned
    shown = returned.decode("utf-8", "replace")
    client.gateway.until(
        lambda: any(line["request_id"] == shown for line in client.gateway.access_log), "the attempt is logged"
    )
    assert "Traceback" not in client.gateway.stderr


# ---- the reply's own headers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_answer_says_where_it_came_from(client: Client, *, stream: bool) -> None:
    """Which backend, which model, how many attempts, and the provider's own id for it."""
    reply = client.post(chat(stream=stream))
    told = {name: value for name, value in reply.headers.items() if name.startswith("x-kortex-")}
    number = client.provider.requests[0].number
    # A stream has its own in the last chunk: its headers are gone when it is known.
    assert ("x-kortex-usage" in told) is not stream
    told.pop("x-kortex-usage", None)
    assert told == {
        "x-kortex-backend": "a",
        "x-kortex-model": "inner",
        "x-kortex-attempts": "1",
        "x-kortex-upstream-request-id": f"req_a_{number}",
    }
    assert reply.headers["server"] == "kortex"
    assert reply.headers["content-type"].startswith("text/event-stream" if stream else "application/json")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_timeout_is_an_error_in_openais_json(client: Client, *, stream: bool) -> None:
    """Envoy itself ends the attempt; the client cannot tell."""
    client.provider.always = Silence()
    reply = client.post(chat(model="short", stream=stream))
    assert_error(reply, 504, type="server_error", code="timeout")
    client.provider.wait_for(lambda fake: fake.active == 0)
