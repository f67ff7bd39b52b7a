"""LangChain's ChatOpenAI, pointed at the gateway and otherwise unchanged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import reduce
from operator import add
from typing import Any

import httpx
import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from tests.fakes import RateLimited
from tests.sdk.conftest import Bench


@tool
def get_weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


class Answer(BaseModel):
    """A structured answer."""

    city: str
    degrees: int


@pytest.fixture(params=["gpt-test", "kortex-demo"])
async def chat(bench: Bench, request: pytest.FixtureRequest) -> AsyncIterator[ChatOpenAI]:
    """The client, for a provider's model and for the embedded one; its connections end with the test's loop."""
    async with httpx.AsyncClient() as http:
        yield client_of(bench, request.param, http_async_client=http)


def client_of(bench: Bench, model: str, **options: Any) -> ChatOpenAI:
    """As LangChain's documentation writes it; mypy's plugin for pydantic does not know the names that it gives."""
    given: dict[str, Any] = {"model": model, "base_url": bench.base_url, "api_key": SecretStr("x"), "max_retries": 0}
    return ChatOpenAI(**given, **options)


def said(chat: ChatOpenAI) -> str:
    """What the model answers to "hello"."""
    return "fake says: hello" if chat.model_name == "gpt-test" else str(chat.invoke("hello").content)


def test_invoke_answers_with_usage(chat: ChatOpenAI) -> None:
    """Text and token counts."""
    reply = chat.invoke("hello")
    assert reply.content == said(chat)
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["input_tokens"] > 0


def test_stream_yields_the_same_text(chat: ChatOpenAI) -> None:
    """LangChain asks for the usage chunk; it comes, once."""
    chunks = list(chat.stream("hello", stream_usage=True))
    assert "".join(str(chunk.content) for chunk in chunks) == said(chat)
    assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1


async def test_async_calls_answer(chat: ChatOpenAI) -> None:
    """``ainvoke``, ``astream`` and ``abatch``."""
    assert (await chat.ainvoke("hello")).content == said(chat)
    assert "".join([str(chunk.content) async for chunk in chat.astream("hello")]) == said(chat)
    assert [reply.content for reply in await chat.abatch(["hello", "hello"])] == [said(chat)] * 2


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_tools_are_called_and_answered(chat: ChatOpenAI, *, stream: bool) -> None:
    """The usual loop of two turns; in a stream the call comes in pieces."""
    bound = chat.bind_tools([get_weather], tool_choice="get_weather")
    question = HumanMessage("What is the weather in Paris?")
    asked: Any = reduce(add, bound.stream([question])) if stream else bound.invoke([question])
    call = asked.tool_calls[0]
    assert call["name"] == "get_weather"
    assert isinstance(call["args"]["city"], str)
    answer = chat.invoke([question, asked, ToolMessage("sunny in Paris", tool_call_id=call["id"])])
    assert "sunny" in str(answer.content)


def test_structured_output_is_parsed(chat: ChatOpenAI) -> None:
    """By JSON schema, as LangChain does by default."""
    assert isinstance(chat.with_structured_output(Answer).invoke("hello"), Answer)


def test_errors_are_the_sdks_own(bench: Bench) -> None:
    """LangChain lets them through."""
    bench.fake.always = RateLimited()
    with pytest.raises(openai.RateLimitError):
        client_of(bench, "gpt-test").invoke("hello")


def test_embeddings_come_in_the_order_of_their_texts(bench: Bench) -> None:
    """One vector per text, as the provider gives it."""
    given: dict[str, Any] = {"base_url": bench.base_url, "api_key": SecretStr("x")}
    embeddings = OpenAIEmbeddings(model="text-embedding-test", check_embedding_ctx_length=False, **given)
    first, second = embeddings.embed_documents(["one", "two"])
    assert first == embeddings.embed_query("one")
    assert first != second
