"""LangChain's ChatOpenAI, pointed at the gateway and otherwise unchanged."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from tests.sdk.conftest import Bench


@tool
def get_weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


@pytest.fixture
def chat(bench: Bench) -> ChatOpenAI:
    """The client."""
    return ChatOpenAI(model="gpt-test", base_url=bench.base_url, api_key=SecretStr("x"), max_retries=0)


def test_invoke_answers_with_usage(chat: ChatOpenAI) -> None:
    """Text and token counts."""
    reply = chat.invoke("hello")
    assert reply.content == "fake says: hello"
    assert isinstance(reply, AIMessage)
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["input_tokens"] > 0


def test_stream_yields_the_same_text(chat: ChatOpenAI) -> None:
    """LangChain asks for the usage chunk; it comes, once."""
    chunks = list(chat.stream("hello", stream_usage=True))
    assert "".join(str(chunk.content) for chunk in chunks) == "fake says: hello"
    assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1


def test_async_calls_answer(chat: ChatOpenAI) -> None:
    """``ainvoke`` and ``astream``."""

    async def main() -> tuple[object, str]:
        whole = await chat.ainvoke("hello")
        streamed = [str(chunk.content) async for chunk in chat.astream("hello")]
        return whole.content, "".join(streamed)

    assert asyncio.run(main()) == ("fake says: hello", "fake says: hello")


def test_tools_are_called_and_answered(chat: ChatOpenAI) -> None:
    """The usual loop of two turns."""
    bound = chat.bind_tools([get_weather])
    question = HumanMessage("weather?")
    asked = bound.invoke([question])
    assert isinstance(asked, AIMessage)
    call = asked.tool_calls[0]
    assert call["name"] == "get_weather"
    answer = bound.invoke([question, asked, ToolMessage("sunny", tool_call_id=call["id"])])
    assert "sunny" in str(answer.content)


def test_embeddings_come_in_the_order_of_their_texts(bench: Bench) -> None:
    """One vector per text, as the provider gives it."""
    embeddings = OpenAIEmbeddings(
        model="text-embedding-test",
        base_url=bench.base_url,
        api_key=SecretStr("x"),
        check_embedding_ctx_length=False,
    )
    first, second = embeddings.embed_documents(["one", "two"])
    assert first == embeddings.embed_query("one")
    assert first != second
