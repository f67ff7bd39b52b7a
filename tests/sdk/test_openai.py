"""The official client, sync and async: the same answers as from the provider itself, and its own typed exceptions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam, ChatCompletionToolParam

from tests.fakes import (
    ContentFilter,
    ErrorAfter,
    Fault,
    GarbleAfter,
    ProviderError,
    RateLimited,
    Status,
)
from tests.sdk.conftest import Bench

SLOW_DOWN = ProviderError("slow down", "requests", "rate_limit_exceeded")
MESSAGES: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "Say it in many tongues [unicode] [words=40]"}
]


def tool(name: str) -> ChatCompletionToolParam:
    """A tool to call."""
    parameters: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


def without_model(reply: pydantic.BaseModel) -> dict[str, Any]:
    """All of it but the model's name, which is the client's from the gateway and the provider's otherwise."""
    fields = reply.model_dump()
    fields.pop("model")
    return fields


def test_chat_is_the_providers_to_the_byte(bench: Bench) -> None:
    """Content, ids, usage and everything else; the model is the one that was asked for."""
    ours = bench.client.chat.completions.create(model="gpt-test", messages=MESSAGES, temperature=0.5, user="u")
    theirs = bench.direct.chat.completions.create(model="gpt-test", messages=MESSAGES, temperature=0.5, user="u")
    assert ours.model == "gpt-test"
    assert theirs.model == "gpt-test-2026-01-01"
    assert without_model(ours) == without_model(theirs)
    assert ours.usage is not None
    assert ours.usage.prompt_tokens_details is not None
    assert bench.fake.requests[0].json == bench.fake.requests[1].json


@pytest.mark.parametrize("include_usage", [False, True])
def test_stream_is_the_providers_chunk_by_chunk(bench: Bench, *, include_usage: bool) -> None:
    """The usage chunk only where the client asked for it."""
    options: Any = {"stream_options": {"include_usage": True}} if include_usage else {}

    def chunks(client: openai.OpenAI) -> list[ChatCompletionChunk]:
        return list(client.chat.completions.create(model="gpt-test", messages=MESSAGES, stream=True, **options))

    ours, theirs = chunks(bench.client), chunks(bench.direct)
    assert [without_model(chunk) for chunk in ours] == [without_model(chunk) for chunk in theirs]
    assert {chunk.model for chunk in ours} == {"gpt-test"}
    assert all(chunk.choices for chunk in ours) is not include_usage


def test_async_client_runs_calls_side_by_side(bench: Bench) -> None:
    """Whole and streamed, ten at a time."""

    async def whole(client: openai.AsyncOpenAI, text: str) -> str:
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": text}]
        reply = await client.chat.completions.create(model="gpt-test", messages=messages)
        return reply.choices[0].message.content or ""

    async def streamed(client: openai.AsyncOpenAI, text: str) -> str:
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": text}]
        stream = await client.chat.completions.create(model="gpt-test", messages=messages, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def main() -> list[str]:
        async with openai.AsyncOpenAI(base_url=bench.base_url, api_key="x", max_retries=0) as client:
            calls = [call(client, f"number {index}") for index in range(10) for call in (whole, streamed)]
            return list(await asyncio.gather(*calls))

    assert asyncio.run(main()) == [f"fake says: number {index}" for index in range(10) for _ in range(2)]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("text", ["weather", "weather [parallel]"], ids=["one", "parallel"])
def test_tools_are_called_and_their_results_answered(bench: Bench, text: str, *, stream: bool) -> None:
    """Two turns; calls and arguments are those of the provider itself."""

    def ask(client: openai.OpenAI, messages: list[ChatCompletionMessageParam]) -> ChatCompletion:
        tools = [tool("get_weather"), tool("get_time")]
        if not stream:
            return client.chat.completions.create(model="gpt-test", messages=messages, tools=tools)
        with client.chat.completions.stream(model="gpt-test", messages=messages, tools=tools) as events:
            return events.get_final_completion()

    def converse(client: openai.OpenAI) -> tuple[list[dict[str, Any]], str | None]:
        messages: list[Any] = [{"role": "user", "content": text}]
        message = ask(client, messages).choices[0].message
        calls = message.tool_calls or []
        messages.append({"role": "assistant", "tool_calls": [call.model_dump() for call in calls]})
        messages += [{"role": "tool", "tool_call_id": call.id, "content": f"sunny {call.id}"} for call in calls]
        return [call.model_dump() for call in calls], ask(client, messages).choices[0].message.content

    ours = converse(bench.client)
    assert ours == converse(bench.direct)
    assert len(ours[0]) == (2 if "parallel" in text else 1)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_are_the_providers(bench: Bench, encoding: Any) -> None:
    """Number for number."""

    def embed(client: openai.OpenAI) -> dict[str, Any]:
        reply = client.embeddings.create(
            model="text-embedding-test", input=["one", "two"], encoding_format=encoding, dimensions=8
        )
        return {"vectors": [item.embedding for item in reply.data], "usage": reply.usage.model_dump()}

    assert embed(bench.client) == embed(bench.direct)


def test_completions_are_the_providers(bench: Bench) -> None:
    """The older operation, whole and streamed."""
    ours = bench.client.completions.create(model="gpt-test", prompt="Once")
    assert without_model(ours) == without_model(bench.direct.completions.create(model="gpt-test", prompt="Once"))
    stream = bench.client.completions.create(model="gpt-test", prompt="Once", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == ours.choices[0].text


def test_models_are_the_gateways(bench: Bench) -> None:
    """What this gateway serves, not what some provider has."""
    assert [model.id for model in bench.client.models.list()] == ["gpt-test", "gpt-second", "kortex-demo"]
    assert bench.client.models.retrieve("text-embedding-3").id == "text-embedding-3"


def test_raw_response_tells_what_happened(bench: Bench) -> None:
    """Headers and the request id, as the SDK gives them."""
    raw = bench.client.chat.completions.with_raw_response.create(
        model="gpt-second", messages=MESSAGES, extra_headers={"x-request-id": "my-id"}
    )
    assert raw.headers["x-kortex-backend"] == "fake"
    assert raw.headers["x-kortex-attempts"] == "2"
    assert raw.headers["x-request-id"] == "my-id"
    assert raw.parse().model == "gpt-second"
    assert bench.fake.requests[-1].headers["x-request-id"] == "my-id"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("fault", "model", "exception", "code"),
    [
        pytest.param(None, "gpt-none", openai.NotFoundError, "model_not_found", id="unknown-model"),
        pytest.param(RateLimited(), "gpt-test", openai.RateLimitError, "rate_limit_exceeded", id="429"),
        pytest.param(Status(500), "gpt-test", openai.InternalServerError, None, id="500"),
        pytest.param(Status(503, "<html>"), "gpt-test", openai.InternalServerError, "overloaded", id="html"),
        pytest.param(Status(401), "gpt-test", openai.AuthenticationError, "invalid_api_key", id="401"),
        pytest.param(ContentFilter(), "gpt-test", openai.BadRequestError, "content_filter", id="content-filter"),
    ],
)
def test_errors_are_the_sdks_own_exceptions(
    bench: Bench,
    fault: Fault | None,
    model: str,
    exception: type[openai.APIStatusError],
    code: str | None,
    *,
    stream: bool,
) -> None:
    """With status, code and request id."""
    bench.fake.always = fault
    with pytest.raises(exception) as caught:
        bench.client.chat.completions.create(model=model, messages=MESSAGES, stream=stream)
    assert caught.value.code == code
    assert caught.value.request_id


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        pytest.param(GarbleAfter(2), "bad_upstream_reply", id="garbled"),
        pytest.param(
            ErrorAfter(2, ProviderError("slow down", "requests", "rate_limit_exceeded")),
            "rate_limit_exceeded",
            id="error",
        ),
    ],
)
def test_broken_stream_raises_after_what_was_said(bench: Bench, fault: Fault, code: str) -> None:
    """The SDK raises APIError on our error event."""
    bench.fake.always = fault
    stream = iter(bench.client.chat.completions.create(model="gpt-test", messages=MESSAGES, stream=True))
    assert next(stream).choices[0].delta.role == "assistant"
    assert next(stream).choices[0].delta.content
    with pytest.raises(openai.APIError) as caught:
        next(stream)
    assert caught.value.code == code


class Answer(pydantic.BaseModel):
    """A structured answer."""

    city: str
    degrees: int


@pytest.mark.parametrize("model", ["gpt-test", "kortex-demo"])
def test_structured_output_is_parsed(bench: Bench, model: str) -> None:
    """``response_format`` as a model class."""
    reply = bench.client.chat.completions.parse(model=model, messages=MESSAGES, response_format=Answer)
    assert isinstance(reply.choices[0].message.parsed, Answer)


def test_demo_answers_in_every_way(bench: Bench) -> None:
    """The embedded model behind the same client: whole, streamed, tools, embeddings, usage."""
    client = bench.client
    whole = client.chat.completions.create(model="kortex-demo", messages=MESSAGES)
    stream: Callable[..., Any] = client.chat.completions.create
    chunks = list(stream(model="kortex-demo", messages=MESSAGES, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    usage = chunks[-1].usage.model_dump()
    assert (usage.pop("cost"), usage.pop("cost_currency")) == (0, "USD")
    assert whole.usage is not None
    assert usage == whole.usage.model_dump()
    called = client.chat.completions.create(
        model="kortex-demo", messages=MESSAGES, tools=[tool("get_weather")], tool_choice="required"
    )
    assert called.choices[0].finish_reason == "tool_calls"
    assert len(client.embeddings.create(model="kortex-demo", input="hi", dimensions=16).data[0].embedding) == 16
