"""Every kind of call by OpenAI's own client, sync and async: field by field what the provider itself would give."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.fakes import Chunking, Encoded, Fault, RateLimited, Silence, Status
from tests.fakes.replies.wording import UNICODE
from tests.sdk.conftest import Bench

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares every client the loading of the system's authorities
MODEL = "gpt-test"
DEMO = "kortex-demo"

Call: TypeAlias = Callable[[Any, str], Any]  # of a client, sync or async, and a model

ASKED: list[Any] = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello [unicode]"}]
PARALLEL: list[Any] = [{"role": "user", "content": "weather [parallel]"}]
SAID = f"fake says: hello [unicode] {UNICODE}"
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"The {name}",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
        },
    }
    for name in ("weather", "time")
]


class Answer(BaseModel):
    """A structured answer."""

    text: str
    count: int
    tags: list[str]


def chat(client: Any, model: str, **fields: Any) -> Any:
    """A chat call."""
    return client.chat.completions.create(**{"model": model, "messages": ASKED, **fields})


CALLS: dict[str, Call] = {
    "chat": chat,
    "choices": lambda client, model: chat(client, model, n=3, temperature=0.5, seed=7, user="me"),
    "length": lambda client, model: chat(client, model, max_completion_tokens=2),
    "tools": lambda client, model: chat(client, model, tools=TOOLS),
    "chosen-tool": lambda client, model: chat(
        client, model, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "time"}}
    ),
    "parallel-tools": lambda client, model: chat(client, model, messages=PARALLEL, tools=TOOLS),
    "one-tool-at-a-time": lambda client, model: chat(
        client, model, messages=PARALLEL, tools=TOOLS, parallel_tool_calls=False
    ),
    "json-object": lambda client, model: chat(client, model, response_format={"type": "json_object"}),
    "parts": lambda client, model: chat(
        client, model, messages=[{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    ),
    "unknown-field": lambda client, model: chat(client, model, extra_body={"top_k": 3, "guided": {"regex": "a"}}),
    "parse": lambda client, model: client.chat.completions.parse(model=model, messages=ASKED, response_format=Answer),
    "completions": lambda client, model: client.completions.create(model=model, prompt=["one", "two"], n=2),
    "embeddings": lambda client, model: client.embeddings.create(model=model, input=["one", "two"], dimensions=64),
    "float-embeddings": lambda client, model: client.embeddings.create(
        model=model, input="one", encoding_format="float"
    ),
}
STREAMS: dict[str, Call] = {
    "chat": lambda client, model: chat(client, model, stream=True),
    "usage": lambda client, model: chat(client, model, stream=True, stream_options={"include_usage": True}),
    "no-usage": lambda client, model: chat(client, model, stream=True, stream_options={"include_usage": False}),
    "choices": lambda client, model: chat(client, model, stream=True, n=2),
    "tools": lambda client, model: chat(client, model, stream=True, tools=TOOLS),
    "parallel-tools": lambda client, model: chat(client, model, stream=True, messages=PARALLEL, tools=TOOLS),
    "completions": lambda client, model: client.completions.create(model=model, prompt="hello [unicode]", stream=True),
}
HOW_IT_TRAVELS = [
    pytest.param(None, id="plain"),
    pytest.param(Chunking((1,)), id="byte-by-byte"),
    pytest.param(Encoded("gzip") | Chunking((7, 2)), id="gzip"),
    pytest.param(Encoded("br") | Chunking((5,)), id="br"),
    pytest.param(Encoded("zstd"), id="zstd"),
]


def dumped(reply: BaseModel) -> dict[str, Any]:
    """All its fields; the SDK puts the parsed answer where pydantic expects none."""
    return reply.model_dump(warnings=False)


def renamed(reply: BaseModel) -> dict[str, Any]:
    """The provider's reply with the client's name for the model."""
    fields = dumped(reply)
    assert fields["model"] == "gpt-test-2026-01-01"
    return {**fields, "model": MODEL}


@contextlib.asynccontextmanager
async def async_client(bench: Bench) -> AsyncIterator[openai.AsyncOpenAI]:
    """Through the gateway, in the loop that is running."""
    async with (
        httpx.AsyncClient(trust_env=False, verify=NO_TLS) as http,
        openai.AsyncOpenAI(base_url=bench.base_url, api_key="x", max_retries=0, http_client=http) as client,
    ):
        yield client


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_answer_is_the_providers(bench: Bench, call: Call) -> None:
    """Every field, however the SDK has parsed it, awaited or not."""
    expected = renamed(call(bench.direct, MODEL))
    assert dumped(call(bench.client, MODEL)) == expected
    async with async_client(bench) as client:
        assert dumped(await call(client, MODEL)) == expected


@pytest.mark.parametrize("call", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("coded", HOW_IT_TRAVELS)
def test_stream_is_the_providers(bench: Bench, call: Call, coded: Fault | None) -> None:
    """Every chunk, whether or not the gateway asked for usage on its own account."""
    expected = [renamed(chunk) for chunk in call(bench.direct, MODEL)]
    bench.fake.always = coded
    assert [dumped(chunk) for chunk in call(bench.client, MODEL)] == expected


@pytest.mark.parametrize("call", STREAMS.values(), ids=STREAMS)
async def test_stream_is_the_providers_to_the_async_client(bench: Bench, call: Call) -> None:
    """The same chunks, iterated asynchronously."""
    expected = [renamed(chunk) for chunk in call(bench.direct, MODEL)]
    async with async_client(bench) as client:
        assert [dumped(chunk) async for chunk in await call(client, MODEL)] == expected


@pytest.mark.parametrize(
    "call", [*CALLS.values(), *STREAMS.values()], ids=[*CALLS, *(f"{name}-stream" for name in STREAMS)]
)
def test_demo_understands_every_call(bench: Bench, call: Call) -> None:
    """The embedded model, whole and streamed: the SDK finds an answer in each reply."""
    reply = call(bench.client, DEMO)
    for part in reply if isinstance(reply, openai.Stream) else [reply]:
        assert part.model == DEMO


def test_text_is_the_same_to_the_letter(bench: Bench) -> None:
    """Whole and streamed: letters of every length, and separators that are no line ends."""
    whole = chat(bench.client, MODEL)
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chat(bench.client, MODEL, stream=True))
    assert whole.choices[0].message.content == streamed == SAID


@pytest.mark.parametrize("model", [MODEL, DEMO])
def test_stream_is_gathered_by_the_sdk(bench: Bench, model: str) -> None:
    """Its own accumulator finds every event in its place, and a structured answer at the end."""
    with bench.client.chat.completions.stream(model=model, messages=ASKED, response_format=Answer) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert kinds[-1] == "content.done"
    assert isinstance(final.choices[0].message.parsed, Answer)
    assert final.model == model


def test_raw_stream_is_there_for_those_who_look(bench: Bench) -> None:
    """Headers before the first byte, bytes as they come."""
    streaming = bench.client.chat.completions.with_streaming_response
    with streaming.create(model=MODEL, messages=ASKED, stream=True) as raw:
        assert raw.headers["x-kortex-backend"] == "fake"
        assert raw.headers["x-request-id"]
        assert b"".join(raw.iter_bytes()).endswith(b"data: [DONE]\n\n")


def test_sdk_repeats_what_it_may(bench: Bench) -> None:
    """Its own retries look at the status, and at the Retry-After that came through."""
    bench.fake.script = [RateLimited(retry_after=0), Status(503), None]
    patient = bench.client.with_options(max_retries=2)
    assert chat(patient, MODEL).choices[0].message.content == SAID
    assert len(bench.fake.requests) == 3


async def test_provider_is_left_when_the_client_gives_up(bench: Bench) -> None:
    """The SDK's timeout ends the request everywhere."""
    bench.fake.always = Silence()
    async with async_client(bench) as client:
        with pytest.raises(openai.APITimeoutError):
            await client.with_options(timeout=0.3).chat.completions.create(model=MODEL, messages=ASKED)
    await bench.fake.wait_for_async(lambda fake: fake.active == 0)
