"""The tables that say what becomes of each feature: complete, and true to what is written."""

from __future__ import annotations

from typing import Any, get_type_hints

import orjson
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from extproc.dialects.anthropic import AnthropicTranslator
from extproc.dialects.anthropic.hosting import VERTEX
from extproc.dialects.base import Translator
from extproc.dialects.converse import ConverseTranslator
from extproc.dialects.gemini import GeminiTranslator
from extproc.dialects.openai_compatible import OpenAITranslator
from extproc.errors import UnsupportedFeature
from extproc.openai.call import Operation, parse_call
from extproc.openai.features import Support, support_for, used_features

NO_FEATURES = {"model", "messages", "stream", "stream_options"}
TABLES = [
    pytest.param(AnthropicTranslator(), "claude-sonnet-4-5", id="anthropic"),
    pytest.param(ConverseTranslator(), "us.anthropic.claude-sonnet-4-5-20250929-v1:0", id="converse"),
    pytest.param(GeminiTranslator(), "gemini-2.5-flash", id="gemini"),
    pytest.param(GeminiTranslator(cloud=True), "gemini-2.5-flash", id="vertex"),
]


@pytest.mark.parametrize(("translator", "model"), TABLES)
def test_table_has_every_field_of_the_api(translator: Translator, model: str) -> None:
    """A field that OpenAI adds is decided on, not forgotten."""
    assert set(get_type_hints(CompletionCreateParamsNonStreaming)) - NO_FEATURES - set(translator.support) == set()


@pytest.mark.parametrize(
    ("fields", "feature"),
    [
        pytest.param({"n": 2}, "n", id="n"),
        pytest.param({"logprobs": True}, "logprobs", id="logprobs"),
        pytest.param({"modalities": ["audio"]}, "modalities", id="audio"),
        pytest.param({"tools": [{"type": "mystery"}]}, "tools.mystery", id="unknown-tool"),
        pytest.param({"response_format": {"type": "xml"}}, "response_format.xml", id="unknown-format"),
    ],
)
@pytest.mark.parametrize(("translator", "model"), TABLES)
def test_feature_is_refused_by_name_when_it_changes_the_meaning(
    translator: Translator, model: str, fields: dict[str, Any], feature: str
) -> None:
    """Both by the table and when it is written all the same."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    assert feature in used_features(body)
    if isinstance(translator, GeminiTranslator) and feature in {"n", "logprobs"}:
        assert support_for(feature, translator.support) is Support.MAPPED
        return
    assert support_for(feature, translator.support) is Support.REFUSED
    with pytest.raises(UnsupportedFeature, match=feature):
        translator.encode(parse_call(Operation.CHAT, orjson.dumps(body)), model)


def test_unknown_field_is_a_knob_and_an_unknown_kind_a_meaning() -> None:
    """A compatible server passes both."""
    table = AnthropicTranslator().support
    assert support_for("frobnicate", table) is Support.DROPPED
    assert support_for("content.video_url", table) is Support.REFUSED
    assert support_for("content.video_url", OpenAITranslator().support) is Support.PASSED


def test_forced_tools_are_refused_by_models_that_cannot() -> None:
    """One model can do less than its dialect."""
    translator = AnthropicTranslator()
    assert translator.support_of("claude-opus-5-5")["tool_choice.required"] is Support.REFUSED
    assert translator.support_of("claude-opus-5")["tool_choice.required"] is Support.MAPPED


@pytest.mark.parametrize(
    ("model", "feature", "support"),
    [
        pytest.param("us.amazon.nova-pro-v1:0", "tool_choice.function", Support.MAPPED, id="nova-is-made-to-call"),
        pytest.param("meta.llama3-3-70b-instruct-v1:0", "tool_choice.required", Support.REFUSED, id="llama-is-not"),
        pytest.param("mistral.mistral-large-2407-v1:0", "tool_choice.required", Support.MAPPED, id="mistral-any-tool"),
        pytest.param("mistral.mistral-large-2407-v1:0", "tool_choice.function", Support.REFUSED, id="mistral-not-one"),
        pytest.param("us.anthropic.claude-opus-5-5-v1", "tool_choice.function", Support.REFUSED, id="claude-as-ever"),
        pytest.param("amazon.nova-lite-v1:0", "messages.cache_control", Support.MAPPED, id="nova-caches"),
        pytest.param("deepseek.r1-v1:0", "messages.cache_control", Support.DROPPED, id="deepseek-does-not"),
    ],
)
def test_models_behind_converse_differ(model: str, feature: str, support: Support) -> None:
    """What one of them would refuse is known before it is asked."""
    assert ConverseTranslator().support_of(model)[feature] is support


@pytest.mark.parametrize(
    ("translator", "model", "feature", "support"),
    [
        pytest.param(GeminiTranslator(), "gemini-2.5-pro", "content.image_url", Support.MAPPED, id="fetched"),
        pytest.param(
            GeminiTranslator(), "gemini-2.0-flash", "content.image_url", Support.REFUSED, id="not-yet-fetched"
        ),
        pytest.param(GeminiTranslator(cloud=True), "gemini-2.0-flash", "content.image_url", Support.MAPPED, id="cloud"),
        pytest.param(GeminiTranslator(), "gemini-2.5-pro", "metadata", Support.DROPPED, id="no-labels"),
        pytest.param(GeminiTranslator(cloud=True), "gemini-2.5-pro", "metadata", Support.MAPPED, id="labels"),
        pytest.param(AnthropicTranslator(), "claude-opus-5", "content.image_url", Support.MAPPED, id="claude"),
        pytest.param(
            AnthropicTranslator(hosting=VERTEX),
            "claude-opus-5",
            "content.image_url",
            Support.REFUSED,
            id="claude-there",
        ),
    ],
)
def test_google_can_do_different_things_in_different_places(
    translator: Translator, model: str, feature: str, support: Support
) -> None:
    """AI Studio, Google Cloud, and Claude as Google Cloud serves it."""
    assert translator.support_of(model)[feature] is support
