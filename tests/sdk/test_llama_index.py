"""LlamaIndex's OpenAILike, pointed at the gateway and otherwise unchanged."""

from __future__ import annotations

import asyncio

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

from tests.sdk.conftest import Bench


@pytest.fixture
def llm(bench: Bench) -> OpenAILike:
    """The client."""
    return OpenAILike(model="gpt-test", api_base=bench.base_url, api_key="x", is_chat_model=True, max_retries=0)


def test_chat_answers(llm: OpenAILike) -> None:
    """Whole."""
    assert llm.chat([ChatMessage(role="user", content="hello")]).message.content == "fake says: hello"


def test_stream_chat_yields_the_same_text(llm: OpenAILike) -> None:
    """Streamed."""
    deltas = [reply.delta or "" for reply in llm.stream_chat([ChatMessage(role="user", content="hello")])]
    assert "".join(deltas) == "fake says: hello"


def test_complete_answers(llm: OpenAILike) -> None:
    """The completion interface over chat, and its async form."""
    assert str(llm.complete("hello")) == "fake says: hello"
    assert str(asyncio.run(llm.acomplete("hello"))) == "fake says: hello"


def test_complete_answers_without_chat(bench: Bench) -> None:
    """Over ``/v1/completions``."""
    llm = OpenAILike(model="gpt-test", api_base=bench.base_url, api_key="x", is_chat_model=False, max_retries=0)
    assert str(llm.complete("hello")) == "fake says: hello"
