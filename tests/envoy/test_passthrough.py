"""Byte exactness through the real Envoy: what a compatible provider gets and what the client gets back.

What is expected is what the provider says when it is asked without a gateway, with the client's name for the model.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import orjson
import pytest

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import (
    Chunking,
    CloseDelimited,
    ContentFilter,
    Edited,
    Encoded,
    ErrorFirstEvent,
    ErrorInBody,
    FakeProvider,
    Fault,
    KeepAliveComments,
    Recorded,
    SlowEvents,
    Status,
    Trailers,
)
from tests.fakes.steps import DONE, Reply, Send, event_reply

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares every client the loading of the system's authorities
NAMED = "through"  # the client's name for the model that the provider calls "inner"
PLAIN = "plain"  # the same name for both
ASKED = [{"role": "user", "content": "hello [unicode]"}]
WITH_USAGE = {"include_usage": True}
BOTH_MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@dataclass(frozen=True, slots=True)
class Written(Fault):
    """A 200 with these very bytes as its body, each piece flushed; ``kind`` is its content-type."""

    pieces: tuple[bytes, ...]
    kind: str = "text/event-stream"

    def apply(self, reply: Reply) -> Reply:
        return replace(event_reply(*map(Send, self.pieces)), headers=(("content-type", self.kind),))


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """A provider whose url ends in ``written``; its operations are below ``real``."""

    provider: str
    written: str
    real: str


BASE_URLS = {
    "bare": BaseUrl("custom", "", "/v1"),
    "slash": BaseUrl("custom", "/", "/v1"),
    "version": BaseUrl("custom", "/v1", "/v1"),
    "version-and-slash": BaseUrl("custom", "/v1/", "/v1"),
    "deeper": BaseUrl("vllm", "/proxy/openai", "/proxy/openai/v1"),
    "deeper-version": BaseUrl("vllm", "/proxy/v1", "/proxy/v1"),
    "another-version": BaseUrl("vllm", "/api/v3", "/api/v3"),
    "ollama": BaseUrl("ollama", "", "/v1"),
    "kserve": BaseUrl("kserve", "", "/openai/v1"),
    "kserve-prefix": BaseUrl("kserve", "/openai", "/openai/v1"),
    "kserve-version": BaseUrl("kserve", "/openai/v1", "/openai/v1"),
    "kserve-deeper": BaseUrl("kserve", "/serving/ns/model", "/serving/ns/model/openai/v1"),
}


class Path:
    """The gateway with a provider behind it, and the provider alone."""

    def __init__(self, gateway: KortexProcess, provider: FakeProvider, mistral: FakeProvider) -> None:
        self.gateway = gateway
        self.provider = provider
        self.mistral = mistral
        self._http = httpx.Client(trust_env=False, verify=NO_TLS, timeout=30)

    def close(self) -> None:
        """End the connections that were kept."""
        self._http.close()

    def post(self, body: bytes, path: str = "/chat/completions") -> httpx.Response:
        """Through the gateway."""
        return self._http.post(self.gateway.base_url + path, content=body, headers={"content-type": "application/json"})

    def call(self, model: str, path: str = "/chat/completions", **fields: Any) -> httpx.Response:
        """Through the gateway, a chat call by default."""
        asked = {} if "prompt" in fields or "input" in fields else {"messages": ASKED}
        return self.post(orjson.dumps({"model": model, **asked, **fields}), path)

    def without_gateway(self, path: str = "/chat/completions", **fields: Any) -> bytes:
        """What the healthy provider answers for its model "inner"."""
        asked = {} if "prompt" in fields or "input" in fields else {"messages": ASKED}
        with FakeProvider(name="a") as alone:
            reply = self._http.post(alone.url + path, json={"model": "inner", **asked, **fields})
        assert reply.status_code == 200
        return reply.content

    @property
    def received(self) -> Recorded:
        """The one request that the provider got."""
        (request,) = self.provider.requests
        return request


def spoken(reply: bytes, model: str = NAMED) -> bytes:
    """The provider's reply with the client's name for the model."""
    name = b'"inner-2025-08-01"'
    assert name in reply
    return reply.replace(name, orjson.dumps(model))


@pytest.fixture(scope="module")
def shared_path() -> Iterator[Path]:
    """Started once; use ``path``."""
    with FakeProvider(name="a") as provider, FakeProvider(name="m", api_key="sk-m") as mistral:
        bases = {
            name: {"provider": base.provider, "url": provider.base_url + base.written}
            for name, base in BASE_URLS.items()
        }
        config = {
            "backends": {
                **bases,
                "named": {"provider": "custom", "url": provider.url, "model": "inner"},
                "plain": {"provider": "vllm", "url": provider.base_url},
                "mistral": {"provider": "mistral", "url": mistral.url, "model": "inner", "apiKey": {"env": "KEY_M"}},
            },
            "routes": {
                **{name: {"models": [name], "defaultBackend": {"name": name}} for name in bases},
                "named": {
                    "models": [NAMED],
                    "defaultBackend": {"name": "named"},
                    "timeouts": {"firstToken": "3s", "idle": "1s"},
                    "retries": {"perBackend": 0},
                },
                "plain": {"models": [PLAIN], "defaultBackend": {"name": "plain"}},
                "mistral": {"models": ["mistral"], "defaultBackend": {"name": "mistral"}},
            },
        }
        with (
            KortexProcess(config, env={"KEY_M": "sk-m"}, workers=2) as gateway,
            contextlib.closing(Path(gateway, provider, mistral)) as path,
        ):
            yield path


@pytest.fixture
def path(shared_path: Path) -> Path:
    """Providers that are healthy and have not been asked."""
    for fake in (shared_path.provider, shared_path.mistral):
        fake.clear_faults()
        fake.clear()
    return shared_path


# ---- requests

# MODEL is the call's model; NAME is the same name where it means nothing.
REQUESTS = [
    pytest.param(b'{"model":"MODEL","messages":[{"role":"user","content":"x"}]}', id="compact"),
    pytest.param(
        b' {\n\t"messages" : [ {"role" : "user" , "content" : "x"} ] ,\r\n  "model" : "MODEL"  }\n\n',
        id="spaced-model-last",
    ),
    pytest.param(
        b'{"zeta":1,"alpha":{"b":[],"a":{}},"model":"MODEL","messages":[{"role":"user","content":"x"}],"Model":"y"}',
        id="unknown-fields",
    ),
    pytest.param(
        b'{"model":"MODEL","messages":[{"role":"user","content":"x"}],'
        b'"n0":-0,"n1":1.0,"n2":1E5,"n3":0.1e-7,"n4":123456789012345678901234567890,"n5":1.10000000000000000001}',
        id="numbers",
    ),
    pytest.param(
        b'{"model":"MODEL","messages":[{"role":"user","content":'
        b'"\\u00e9\\/\\ud83d\\ude00\\b\\u0000 \\"model\\":\\"NAME\\""}]}',
        id="escapes",
    ),
    pytest.param(
        '{"model":"MODEL","messages":[{"role":"user","content":"é \u2028 日本語 \U0001f600 \x7f"}]}'.encode(),
        id="raw-unicode",
    ),
    pytest.param(
        b'{"metadata":{"model":"NAME"},"messages":[{"role":"user","content":"x","model":"NAME"}],"model":"MODEL"}',
        id="model-elsewhere-too",
    ),
    pytest.param(b'{"mod\\u0065l":"MODEL","messages":[{"role":"user","content":"x"}]}', id="escaped-key"),
    pytest.param(
        b'{"model":"MODEL","messages":[{"role":"user","content":[{"type":"text","text":"x"},'
        b'{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}],"stream":false}',
        id="parts-and-false",
    ),
    pytest.param(b'{"model":"MODEL","messages":[{"role":"user","content":"x"}],"stream":null}', id="null-stream"),
]


@pytest.mark.parametrize("body", REQUESTS)
def test_request_keeps_its_bytes_when_names_are_equal(path: Path, body: bytes) -> None:
    """Nothing is read into it and nothing written."""
    body = body.replace(b"MODEL", PLAIN.encode()).replace(b"NAME", PLAIN.encode())
    assert path.post(body).status_code == 200
    assert path.received.body == body


@pytest.mark.parametrize("body", REQUESTS)
def test_request_keeps_its_bytes_around_the_models_name(path: Path, body: bytes) -> None:
    """The outermost ``model`` is the provider's; the same words elsewhere stay the client's."""
    body = body.replace(b"NAME", NAMED.encode())
    assert path.post(body.replace(b"MODEL", NAMED.encode())).status_code == 200
    assert path.received.body == body.replace(b"MODEL", b"inner")


@pytest.mark.parametrize("model", [NAMED, PLAIN])
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        pytest.param(None, b'{"include_usage":true}', id="none"),
        pytest.param(b"null", b'{"include_usage":true}', id="null"),
        pytest.param(b"{ }", b'{"include_usage":true}', id="empty"),
        pytest.param(b'{"include_usage": false}', b'{"include_usage":true}', id="false"),
        pytest.param(
            b'{"include_obfuscation" : false}', b'{"include_obfuscation":false,"include_usage":true}', id="another"
        ),
        pytest.param(b'{ "include_usage" : true }', b'{ "include_usage" : true }', id="true"),
    ],
)
def test_stream_asks_for_usage(path: Path, model: str, given: bytes | None, sent: bytes) -> None:
    """Whatever the client said about it; the rest of the body stays as it came."""
    start = b'{"model": "%s", "stream": true, "messages": [{"role": "user", "content": "x"}]'
    own = b"" if given is None else b', "stream_options": ' + given
    reply = path.post(start % model.encode() + own + b" }")
    assert reply.status_code == 200
    name = b"inner" if model == NAMED else PLAIN.encode()
    added = b' ,"stream_options":' + sent if given is None else b', "stream_options": ' + sent + b" "
    assert path.received.body == start % name + added + b"}"


@BOTH_MODES
def test_provider_is_asked_for_plain_bytes(path: Path, *, stream: bool) -> None:
    """No compression, and the kind of reply that is wanted, whatever the client accepts."""
    path.call(NAMED, stream=stream)
    headers = path.received.headers
    assert headers["accept-encoding"] == "identity"
    assert headers["accept"] == ("text/event-stream" if stream else "application/json")
    assert headers["content-length"] == str(len(path.received.body))


# ---- replies

OPERATIONS = [
    pytest.param("/chat/completions", {}, id="chat"),
    pytest.param("/chat/completions", {"n": 3}, id="three-choices"),
    pytest.param(
        "/chat/completions",
        {
            "messages": [{"role": "user", "content": "weather [parallel]"}],
            "tools": [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("now", "later")],
        },
        id="tools",
    ),
    pytest.param("/chat/completions", {"response_format": {"type": "json_object"}}, id="json-object"),
    pytest.param("/chat/completions", {"max_tokens": 2}, id="length"),
    pytest.param("/completions", {"prompt": ["one [unicode]", "two"], "n": 2}, id="completions"),
    pytest.param("/embeddings", {"input": ["one", "two"]}, id="embeddings"),
    pytest.param("/embeddings", {"input": "one", "encoding_format": "base64", "dimensions": 300}, id="base64"),
]
STREAMS = [case for case in OPERATIONS if case.values[0] != "/embeddings"]


@pytest.mark.parametrize(("operation", "fields"), OPERATIONS)
def test_answer_is_the_providers_to_the_byte(path: Path, operation: str, fields: dict[str, Any]) -> None:
    """Indented as it came, but for the model's name."""
    reply = path.call(NAMED, operation, **fields)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["content-length"] == str(len(reply.content))
    assert reply.content == spoken(path.without_gateway(operation, **fields))


@pytest.mark.parametrize(("operation", "fields"), STREAMS)
def test_stream_is_the_providers_to_the_byte(path: Path, operation: str, fields: dict[str, Any]) -> None:
    """Every chunk names the client's model; the usage that only the gateway asked for is not there at all."""
    reply = path.call(NAMED, operation, stream=True, **fields)
    assert reply.status_code == 200
    assert reply.content == spoken(path.without_gateway(operation, stream=True, **fields))


@pytest.mark.parametrize(("operation", "fields"), STREAMS)
def test_stream_shows_usage_when_the_client_asked(path: Path, operation: str, fields: dict[str, Any]) -> None:
    """With the chunk that has it, and ``"usage":null`` in the others."""
    reply = path.call(NAMED, operation, stream=True, stream_options=WITH_USAGE, **fields)
    expected = path.without_gateway(operation, stream=True, stream_options=WITH_USAGE, **fields)
    assert b'"choices":[],"usage":{"prompt_tokens":' in expected
    assert reply.content == spoken(expected)


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"stream": True, "stream_options": WITH_USAGE}])
def test_usage_is_read_however_it_comes(path: Path, fields: dict[str, Any]) -> None:
    """Cached and reasoning tokens too, also where the client is not shown them."""
    reply = path.call(NAMED, **fields)
    line = path.gateway.until(lambda: path.gateway.logged(reply), "the attempt is logged")[0]
    told = orjson.loads(path.without_gateway())["usage"]
    assert line["input_tokens"] == told["prompt_tokens"]
    assert line["output_tokens"] == told["completion_tokens"]
    assert line["cached_input_tokens"] == told["prompt_tokens_details"]["cached_tokens"]
    assert line["reasoning_tokens"] == told["completion_tokens_details"]["reasoning_tokens"]
    assert line["served_model"] == "inner-2025-08-01"


CHUNKED_BY = [
    pytest.param(Chunking((1,)), id="byte-by-byte"),
    pytest.param(Chunking((2, 3, 1)), id="few-bytes"),
    pytest.param(Chunking((511, 1, 64)), id="uneven"),
    pytest.param(Chunking((1 << 20,)), id="at-once"),
    pytest.param(Encoded("gzip") | Chunking((1,)), id="gzip-byte-by-byte"),
    pytest.param(Encoded("br") | Chunking((5, 2)), id="br"),
    pytest.param(Encoded("zstd") | Chunking((3,)), id="zstd"),
    pytest.param(CloseDelimited(), id="until-the-connection-ends"),
    pytest.param(Trailers({"x-checksum": "1", "x-kortex-failover": "reset"}), id="trailers"),
    pytest.param(Chunking((7,)) | Trailers({"grpc-status": "0"}), id="pieces-and-trailers"),
]


@pytest.mark.parametrize("coded", CHUNKED_BY)
@BOTH_MODES
def test_reply_is_the_same_however_it_travels(path: Path, coded: Fault, *, stream: bool) -> None:
    """Cut, compressed and framed by the provider as it likes."""
    path.provider.always = coded
    reply = path.call(NAMED, stream=stream)
    assert reply.status_code == 200
    assert "content-encoding" not in reply.headers
    assert reply.content == spoken(path.without_gateway(stream=stream))
    assert len(path.provider.requests) == 1


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize(
    ("fault", "stream", "status", "message"),
    [
        pytest.param(ContentFilter(), False, 400, "content management policy", id="400"),
        pytest.param(ContentFilter(), True, 400, "content management policy", id="400-to-a-stream"),
        pytest.param(Status(500), False, 500, "server had an error", id="500"),
        pytest.param(ErrorInBody(), False, 503, "currently overloaded", id="in-a-200"),
        pytest.param(ErrorFirstEvent(), True, 503, "currently overloaded", id="first-event"),
    ],
)
def test_error_is_understood_when_compressed(
    path: Path, coding: Any, fault: Fault, status: int, message: str, *, stream: bool
) -> None:
    """As on the way of success: the encoding is undone before anything is read, and its header is gone."""
    path.provider.always = fault | Encoded(coding)
    reply = path.call(NAMED, stream=stream)
    assert reply.status_code == status
    assert "content-encoding" not in reply.headers
    assert message in reply.json()["error"]["message"]


def test_large_answer_passes_whole(path: Path) -> None:
    """Five megabytes in one reply."""
    text = "0123456789abcdef" * (5 << 16)
    path.provider.always = Edited(lambda document: {**document, "text": text})
    assert path.call(NAMED).json()["text"] == text


def test_large_event_passes_whole(path: Path) -> None:
    """A megabyte in one chunk of the stream."""
    text = "é" * (1 << 19)
    path.provider.always = Edited(lambda document: {**document, "text": text})
    events = [line for line in path.call(NAMED, stream=True).content.splitlines() if line.startswith(b"data: {")]
    assert {orjson.loads(event[6:])["text"] for event in events} == {text}


# ---- streams as other servers write them

CHUNK = b'{"model" : "%s","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}], "n":1.0}'
LAST = b'{"model" : "%s","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
DONE_BYTES = DONE.payload


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param((b"data: ", CHUNK, b"\r\n\r\ndata: ", LAST, b"\r\n\r\ndata: [DONE]\r\n\r\n"), id="crlf"),
        pytest.param((b"data:", CHUNK, b"\n\ndata:", LAST, b"\n\ndata:[DONE]\n\n"), id="no-space"),
        pytest.param((b"data: ", CHUNK, b"\r\rdata: ", LAST, b"\r\rdata: [DONE]\r\r"), id="cr"),
        pytest.param(
            (b"id: 7\nretry: 10\ndata: ", CHUNK, b"\n\n", b"data: ", LAST, b"\n\n", DONE_BYTES), id="id-retry"
        ),
        pytest.param((b"event: message\ndata: ", CHUNK, b"\n\ndata: ", LAST, b"\n\n", DONE_BYTES), id="named-event"),
        pytest.param((b"\xef\xbb\xbfdata: ", CHUNK, b"\n\ndata: ", LAST, b"\n\n", DONE_BYTES), id="byte-order-mark"),
        pytest.param((b": hi\n\n\n\ndata: ", CHUNK, b"\n\n: ho\n\ndata: ", LAST, b"\n\n", DONE_BYTES), id="comments"),
        pytest.param(
            (b"data: ", CHUNK.replace(b',"', b',\ndata: "'), b"\n\ndata: ", LAST, b"\n\n", DONE_BYTES), id="lines"
        ),
    ],
)
def test_stream_keeps_its_bytes_when_names_are_equal(path: Path, stream: tuple[bytes, ...]) -> None:
    """Line ends, comments and fields that no client reads included."""
    written = tuple(part.replace(b"%s", PLAIN.encode()) for part in stream)
    path.provider.always = Written(written)
    assert path.call(PLAIN, stream=True).content == b"".join(written)


def test_stream_keeps_its_bytes_around_the_models_name(path: Path) -> None:
    """Spaces and numbers of each chunk stay as the provider wrote them."""
    stream = (b"data: ", CHUNK, b"\n\ndata: ", LAST, b"\n\n", DONE_BYTES)
    path.provider.always = Written(tuple(part.replace(b"%s", b"other") for part in stream))
    assert path.call(NAMED, stream=True).content == b"".join(part.replace(b"%s", NAMED.encode()) for part in stream)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(b"\n\n", id="without-done"),
        pytest.param(b"\n\ndata: [DONE]", id="without-last-line-end"),
        pytest.param(b"\n\ndata: [DONE]\n", id="with-one-line-end"),
        pytest.param(b"\n\ndata: [DONE]\n\ndata: more\n\n", id="more-after-done"),
    ],
)
def test_stream_ends_with_done_when_the_provider_is_careless(path: Path, end: bytes) -> None:
    """Every choice has its finish reason: the answer is whole, and clients get the end they wait for."""
    path.provider.always = Written((b"data: ", CHUNK % b"plain", b"\n\ndata: ", LAST % b"plain", end))
    reply = path.call(PLAIN, stream=True)
    assert reply.content == b"data: " + CHUNK % b"plain" + b"\n\ndata: " + LAST % b"plain" + b"\n\ndata: [DONE]\n\n"


def test_usage_in_the_last_chunk_is_hidden_alone(path: Path) -> None:
    """Some servers write it beside the last choice: the choice must not go with it."""
    last = LAST[:-1] + b',"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'
    path.provider.always = Written((b"data: ", last % b"plain", b"\n\n", DONE_BYTES))
    assert path.call(PLAIN, stream=True).content == b"data: " + LAST % b"plain" + b"\n\n" + DONE_BYTES


# ---- patience


def test_stream_passes_when_it_is_slow(path: Path) -> None:
    """Ten seconds for the whole, though a second without an event would end it and three bound the first."""
    events = path.without_gateway(stream=True).count(b"\n\n")
    path.provider.always = SlowEvents(10 / (events - 1))
    reply = path.call(NAMED, stream=True)
    assert reply.elapsed.total_seconds() >= 9
    assert reply.content == spoken(path.without_gateway(stream=True))


def test_stream_passes_when_only_comments_keep_it_alive(path: Path) -> None:
    """More than the idle limit between two events, and a sign of life in between."""
    path.provider.always = KeepAliveComments(count=3, delay=0.4, before="each")
    reply = path.call(NAMED, stream=True, max_tokens=1)
    expected = spoken(path.without_gateway(stream=True, max_tokens=1))
    comment = b": keep-alive\n\n"
    assert reply.content.replace(comment, b"") == expected
    assert reply.content.count(comment) == 3 * (expected.count(b"\n\n") + 1)  # those before the hidden usage too


def test_answer_passes_when_blank_lines_keep_it_alive(path: Path) -> None:
    """JSON allows them before the object."""
    path.provider.always = KeepAliveComments(count=3, delay=0.4, before="first")
    assert path.call(NAMED).content == b"\n\n\n" + spoken(path.without_gateway())


# ---- where and what providers are


@pytest.mark.parametrize("case", BASE_URLS)
@pytest.mark.parametrize("operation", ["/chat/completions", "/completions", "/embeddings"])
def test_base_url_works_however_it_is_written(path: Path, case: str, operation: str) -> None:
    """With or without the version, with or without KServe's prefix: the request arrives where the operation is."""
    path.post(orjson.dumps({"model": case, "messages": ASKED, "prompt": "x", "input": "x"}), operation)
    assert path.received.path == BASE_URLS[case].real + operation
    assert path.received.headers["host"] == f"127.0.0.1:{path.provider.port}"


@pytest.mark.parametrize("given", [{}, {"stream_options": WITH_USAGE}], ids=["none", "usage"])
def test_mistral_is_not_sent_what_it_refuses(path: Path, given: dict[str, Any]) -> None:
    """It answers an unknown ``stream_options`` with a 422; its last chunk has the usage anyway."""
    path.mistral.decide = lambda request: Status(422) if "stream_options" in request.json else None
    reply = path.call("mistral", stream=True, **given)
    assert reply.status_code == 200
    assert reply.content.endswith(DONE_BYTES)
    assert path.mistral.requests[0].json == {"model": "inner", "messages": ASKED, "stream": True}
