"""The official SDK takes the fake for the real thing: what it sends is accepted, what it gets is understood."""

from __future__ import annotations

import ssl
from typing import cast

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from tests.fakes import (
    Chunking,
    ContextLengthExceeded,
    CutAfter,
    Encoded,
    ErrorAfter,
    FakeProvider,
    Fault,
    RateLimited,
    ResetBeforeHeaders,
    Silence,
    Status,
)
from tests.fakes.replies.wording import UNICODE

ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello [unicode]"}]
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares every client the loading of the system's authorities
SAID = f"a says: hello [unicode] {UNICODE}"
TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {"name": name, "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
    for name in ("weather", "time")
]


class Answer(BaseModel):
    """A structured answer."""

    text: str
    count: int


def client_of(fake: FakeProvider, **options: float) -> openai.OpenAI:
    """The SDK's client, without retries of its own."""
    http = httpx.Client(trust_env=False, verify=NO_TLS)
    return openai.OpenAI(base_url=fake.url, api_key="sk-a", max_retries=0, http_client=http, **options)  # type: ignore[arg-type]  # floats only


def test_chat_is_understood_when_whole() -> None:
    """Text to the byte, usage with details, request id."""
    with FakeProvider(name="a", api_key="sk-a") as fake, client_of(fake) as client:
        reply = client.chat.completions.create(model="gpt-4o", messages=ASKED)
    assert reply.choices[0].message.content == SAID
    assert reply.model == "gpt-4o-2025-08-01"
    assert reply._request_id == "req_a_1"  # noqa: SLF001  the SDK's documented name for it
    assert reply.usage is not None
    assert reply.usage.completion_tokens_details is not None
    assert reply.usage.completion_tokens_details.reasoning_tokens == 5


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(None, id="plain"),
        pytest.param(Chunking((1,)), id="byte by byte"),
        pytest.param(Encoded("gzip") | Chunking((7, 2)), id="gzip"),
        pytest.param(Encoded("br") | Chunking((5,)), id="br"),
        pytest.param(Encoded("zstd"), id="zstd"),
    ],
)
def test_chat_is_understood_when_streamed(fault: Fault | None) -> None:
    """However its bytes are cut and encoded."""
    with FakeProvider(name="a") as fake, client_of(fake) as client:
        fake.always = fault
        stream = client.chat.completions.create(
            model="gpt-4o", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
        parts = list(stream)
    assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == SAID
    assert parts[-1].usage is not None
    assert parts[-1].usage.total_tokens > 0


async def test_chat_is_understood_when_the_client_is_asynchronous() -> None:
    """Whole and streamed, in one loop with other work."""
    with FakeProvider(name="a") as fake:
        http = httpx.AsyncClient(trust_env=False, verify=NO_TLS)
        async with openai.AsyncOpenAI(base_url=fake.url, api_key="k", max_retries=0, http_client=http) as client:
            reply = await client.chat.completions.create(model="m", messages=ASKED)
            stream = await client.chat.completions.create(model="m", messages=ASKED, stream=True)
            text = "".join([part.choices[0].delta.content or "" async for part in stream])
    assert reply.choices[0].message.content == text == SAID


def test_conversation_with_tools_is_understood_when_streamed() -> None:
    """The SDK puts the calls together, and their results come back as text."""
    asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": "[parallel] where?"}]
    with FakeProvider(name="a") as fake, client_of(fake) as client:
        with client.chat.completions.stream(model="m", messages=asked, tools=TOOLS) as stream:
            message = stream.get_final_completion().choices[0].message
        calls = message.tool_calls or []
        assert [call.function.name for call in calls] == ["weather", "time"]
        assert {call.function.arguments for call in calls} == {'{"city": "[parallel] where?"}'}
        asked.append(cast("ChatCompletionMessageParam", message.to_dict()))
        asked += [{"role": "tool", "tool_call_id": call.id, "content": f"in {call.function.name}"} for call in calls]
        reply = client.chat.completions.create(model="m", messages=asked, tools=TOOLS)
    assert reply.choices[0].message.content == f"a read {calls[0].id}: in weather; {calls[1].id}: in time"


def test_structured_answer_is_parsed_when_asked_for() -> None:
    """From the schema that the SDK makes of a model."""
    with FakeProvider(name="a") as fake, client_of(fake) as client:
        reply = client.chat.completions.parse(
            model="m", messages=[{"role": "user", "content": "hi"}], response_format=Answer
        )
    assert reply.choices[0].message.parsed == Answer(text="a says: hi", count=7)


def test_embeddings_completions_and_models_are_understood() -> None:
    """The SDK asks for base64 by itself, and decodes it."""
    with FakeProvider(name="a", models=["m"]) as fake, client_of(fake) as client:
        packed = client.embeddings.create(model="m", input=["one", "two"], dimensions=4)
        plain = client.embeddings.create(model="m", input=["one", "two"], dimensions=4, encoding_format="float")
        assert "base64" in fake.requests[0].json["encoding_format"]
        assert [item.embedding for item in packed.data] == [item.embedding for item in plain.data]
        assert client.completions.create(model="m", prompt="once").choices[0].text == "a says: once"
        streamed = client.completions.create(model="m", prompt="once", stream=True)
        assert "".join(part.choices[0].text for part in streamed) == "a says: once"
        assert [model.id for model in client.models.list()] == ["m"]
        assert client.models.retrieve("m").owned_by == "a"


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        pytest.param(Status(401), openai.AuthenticationError, "invalid_api_key", id="401"),
        pytest.param(Status(403), openai.PermissionDeniedError, "permission_denied", id="403"),
        pytest.param(Status(404), openai.NotFoundError, "model_not_found", id="404"),
        pytest.param(RateLimited(retry_after=1), openai.RateLimitError, "rate_limit_exceeded", id="429"),
        pytest.param(ContextLengthExceeded(), openai.BadRequestError, "context_length_exceeded", id="context length"),
        pytest.param(Status(503), openai.InternalServerError, "overloaded", id="503"),
        pytest.param(ResetBeforeHeaders(), openai.APIConnectionError, None, id="reset"),
        pytest.param(Silence(), openai.APITimeoutError, None, id="silence"),
    ],
)
def test_typed_exception_is_raised_when_the_fault_is(
    fault: Fault, error: type[openai.APIError], code: str | None
) -> None:
    """The class for the status, and OpenAI's code."""
    with FakeProvider() as fake, client_of(fake, timeout=0.3) as client:
        fake.always = fault
        with pytest.raises(error) as raised:
            client.chat.completions.create(model="m", messages=ASKED)
        assert raised.value.code == code


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(ErrorAfter(3), id="error event"),
        pytest.param(CutAfter(3, "reset"), id="reset"),
        pytest.param(CutAfter(3, "fin"), id="fin"),
    ],
)
def test_stream_raises_when_it_breaks_midway(fault: Fault) -> None:
    """After the text that came before; older SDKs let the HTTP library's own error through."""
    said = ""
    with FakeProvider(name="a") as fake, client_of(fake) as client:
        fake.always = fault
        with pytest.raises((openai.APIError, httpx.HTTPError)):  # noqa: PT012  the loop is what raises
            for part in client.chat.completions.create(model="m", messages=ASKED, stream=True):
                said += part.choices[0].delta.content or ""
    assert said == "a says:"
