"""What OpenAI's own client raises: every error of a provider and of the gateway, by the class that programs catch."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.fakes import (
    ContentFilter,
    ContextLengthExceeded,
    ErrorAfter,
    ErrorFirstEvent,
    ErrorInBody,
    Fault,
    RateLimited,
    Status,
)
from tests.sdk.conftest import Bench

MODEL = "gpt-test"
ASKED: list[Any] = [{"role": "user", "content": "hello"}]
BOTH_MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])

ERRORS = [
    pytest.param(Status(400), openai.BadRequestError, None, id="400"),
    pytest.param(ContextLengthExceeded(), openai.BadRequestError, "context_length_exceeded", id="context-length"),
    pytest.param(ContentFilter(), openai.BadRequestError, "content_filter", id="content-filter"),
    pytest.param(Status(401), openai.AuthenticationError, "invalid_api_key", id="401"),
    pytest.param(Status(403), openai.PermissionDeniedError, "permission_denied", id="403"),
    pytest.param(Status(404), openai.NotFoundError, "model_not_found", id="404"),
    pytest.param(Status(409), openai.ConflictError, None, id="409"),
    pytest.param(Status(422), openai.UnprocessableEntityError, None, id="422"),
    pytest.param(RateLimited(), openai.RateLimitError, "rate_limit_exceeded", id="429"),
    pytest.param(Status(500), openai.InternalServerError, None, id="500"),
    pytest.param(Status(503), openai.InternalServerError, "overloaded", id="503"),
    pytest.param(Status(502, "<html>"), openai.InternalServerError, None, id="502-html"),
    pytest.param(ErrorInBody(), openai.InternalServerError, "overloaded", id="in-a-200"),
]


@BOTH_MODES
@pytest.mark.parametrize(("fault", "kind", "code"), ERRORS)
async def test_error_is_raised_as_what_it_is(
    bench: Bench, fault: Fault, kind: type[openai.APIStatusError], code: str | None, *, stream: bool
) -> None:
    """Its class by its status, with code, type, message and request id; the same from both clients."""
    bench.fake.always = fault
    with pytest.raises(kind) as raised:
        bench.client.chat.completions.create(model=MODEL, messages=ASKED, stream=stream)
    async with openai.AsyncOpenAI(base_url=bench.base_url, api_key="x", max_retries=0) as client:
        with pytest.raises(kind) as awaited:
            await client.chat.completions.create(model=MODEL, messages=ASKED, stream=stream)
    for error in (raised.value, awaited.value):
        assert type(error) is kind
        assert error.code == code
        assert error.type
        assert error.request_id
        assert isinstance(error.body, dict)
        assert error.body["message"]


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        pytest.param({"model": "nope"}, openai.NotFoundError, "model", id="unknown-model"),
        pytest.param({"model": "nope", "stream": True}, openai.NotFoundError, "model", id="unknown-model-of-a-stream"),
        pytest.param({"messages": []}, openai.BadRequestError, "messages", id="no-messages"),
        pytest.param({"stream_options": {}}, openai.BadRequestError, "stream_options", id="options-without-stream"),
        pytest.param({"messages": ["text"]}, openai.BadRequestError, "messages[0]", id="text-as-message"),
    ],
)
def test_refusal_of_the_gateways_is_raised_as_what_it_is(
    bench: Bench, fields: dict[str, Any], kind: type[openai.APIStatusError], param: str
) -> None:
    """To the SDK they are OpenAI's own."""
    call: dict[str, Any] = {"model": MODEL, "messages": ASKED, **fields}
    with pytest.raises(kind) as raised:
        bench.client.chat.completions.create(**call)
    assert raised.value.param == param
    assert raised.value.request_id
    assert bench.fake.requests == []


def test_missing_model_and_path_are_raised_as_not_found(bench: Bench) -> None:
    """Also where nothing is posted."""
    with pytest.raises(openai.NotFoundError) as model:
        bench.client.models.retrieve("nope")
    assert model.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError) as path:
        bench.client.files.list()
    assert path.value.code == "unknown_url"


def test_first_event_that_is_an_error_is_raised_by_status(bench: Bench) -> None:
    """Because no byte had gone to the client yet."""
    bench.fake.always = ErrorFirstEvent()
    with pytest.raises(openai.InternalServerError) as raised:
        bench.client.chat.completions.create(model=MODEL, messages=ASKED, stream=True)
    assert raised.value.code == "overloaded"


async def test_error_event_is_raised_to_the_async_client(bench: Bench) -> None:
    """In the midst of a stream, after the chunks that came before it."""
    bench.fake.always = ErrorAfter(2)
    async with openai.AsyncOpenAI(base_url=bench.base_url, api_key="x", max_retries=0) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=ASKED, stream=True)
        assert (await anext(stream)).choices[0].delta.role == "assistant"
        assert (await anext(stream)).choices[0].delta.content
        with pytest.raises(openai.APIError) as raised:
            await anext(stream)
    assert raised.value.code == "overloaded"
