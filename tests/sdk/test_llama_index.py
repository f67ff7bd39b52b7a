"""LlamaIndex's OpenAILike, pointed at the gateway and otherwise unchanged."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped] # ships no types

from tests.sdk.conftest import Bench

HELLO = [ChatMessage(role="user", content="hello")]


def get_weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


@pytest.fixture(params=["gpt-test", "kortex-demo"])
async def llm(bench: Bench, request: pytest.FixtureRequest) -> AsyncIterator[OpenAILike]:
    """The client, for a provider's model and for the embedded one; its connections end with the test's loop."""
    async with httpx.AsyncClient() as http:
        yield OpenAILike(
            model=request.param,
            api_base=bench.base_url,
            api_key="x",
            is_chat_model=True,
            is_function_calling_model=True,
            max_retries=0,
            async_http_client=http,
        )


def said(llm: OpenAILike) -> str:
    """What the model answers to "hello"."""
    return "fake says: hello" if llm.model == "gpt-test" else str(llm.complete("hello"))


def test_chat_answers(llm: OpenAILike) -> None:
    """Whole."""
    assert llm.chat(HELLO).message.content == said(llm)


def test_stream_yields_the_same_text(llm: OpenAILike) -> None:
    """As chat and as completion."""
    assert "".join(reply.delta or "" for reply in llm.stream_chat(HELLO)) == said(llm)
    assert "".join(reply.delta or "" for reply in llm.stream_complete("hello")) == said(llm)


async def test_async_calls_answer(llm: OpenAILike) -> None:
    """Whole and streamed."""
    assert (await llm.achat(HELLO)).message.content == said(llm)
    assert str(await llm.acomplete("hello")) == said(llm)
    assert "".join([reply.delta or "" async for reply in await llm.astream_chat(HELLO)]) == said(llm)


def test_tool_is_called_and_its_result_used(llm: OpenAILike) -> None:
    """LlamaIndex runs the function that the model asks for."""
    reply = llm.predict_and_call([FunctionTool.from_defaults(get_weather)], "What is the weather in Paris?")
    assert [source.tool_name for source in reply.sources] == ["get_weather"]
    assert str(reply).startswith("sunny in ")


@pytest.mark.parametrize("model", ["gpt-test", "kortex-demo"])
def test_complete_answers_without_chat(bench: Bench, model: str) -> None:
    """Over ``/v1/completions``, whole and streamed."""
    llm = OpenAILike(model=model, api_base=bench.base_url, api_key="x", is_chat_model=False, max_retries=0)
    text = str(llm.complete("hello"))
    assert text == "fake says: hello" if model == "gpt-test" else text
    assert "".join(reply.delta or "" for reply in llm.stream_complete("hello")) == text
