"""What is done to a request because a compatible server differs: no more than it needs, and never in silence."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from extproc.dialects.openai_compatible import OpenAITranslator, Quirks
from extproc.errors import UnsupportedFeature
from extproc.openai.call import Operation, parse_call
from extproc.providers.registry import PROVIDERS

HELLO = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}]


def chat(provider: str) -> Any:
    """Its translator."""
    return PROVIDERS[provider].offers["openai_compatible"][Operation.CHAT]


def sent(translator: OpenAITranslator, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body for a request with these fields, and what is dropped."""
    body = orjson.dumps({"model": "m", "messages": HELLO, **fields})
    request = translator.encode(parse_call(Operation.CHAT, body), "m")
    return orjson.loads(body if request.body is None else request.body), request.dropped


@pytest.mark.parametrize("provider", ["groq", "together", "deepseek", "xai", "ollama", "mistral"])
def test_bytes_stay_when_nothing_has_to_change(provider: str) -> None:
    """Spaces, order and all."""
    body = b'{"messages" : [{"content":"hi", "role":"user"}],  "model":"m", "temperature":0.50}'
    request = chat(provider).encode(parse_call(Operation.CHAT, body), "m")
    assert request.body in {None, body}


@pytest.mark.parametrize(
    ("provider", "fields", "left", "dropped"),
    [
        pytest.param("groq", {"logit_bias": {}, "n": 1}, {}, (), id="not-even-at-rest"),
        pytest.param("groq", {"logit_bias": {"1": 1}}, {}, ("logit_bias",), id="dropped"),
        pytest.param("deepseek", {"max_completion_tokens": 5, "max_tokens": 9}, {"max_tokens": 5}, (), id="renamed"),
        pytest.param("deepseek", {"max_completion_tokens": None}, {}, (), id="null-is-nothing"),
        pytest.param("ollama", {"tools": TOOLS, "tool_choice": "none"}, {}, (), id="no-tools"),
        pytest.param("ollama", {"tools": TOOLS, "tool_choice": "auto"}, {"tools": TOOLS}, (), id="auto"),
        pytest.param("mistral", {"stream_options": None, "seed": 7}, {"random_seed": 7}, (), id="other-name"),
        pytest.param("xai", {"logit_bias": {"1": 1}}, {"logit_bias": {"1": 1}}, (), id="passed"),
    ],
)
def test_fields_are_as_the_server_takes_them(
    provider: str, fields: dict[str, Any], left: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    """What it does not know is not sent; what a client asked for is named."""
    assert sent(chat(provider), **fields) == ({"model": "m", "messages": HELLO, **left}, dropped)


@pytest.mark.parametrize(
    ("provider", "fields", "feature"),
    [
        pytest.param("groq", {"n": 2}, "n", id="groq-choices"),
        pytest.param("together", {"logprobs": True}, "logprobs", id="together-logprobs"),
        pytest.param(
            "ollama",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}]},
            "content.image_url",
            id="ollama-image-address",
        ),
        pytest.param("ollama", {"tools": TOOLS, "tool_choice": "required"}, "tool_choice.required", id="ollama-tool"),
        pytest.param(
            "deepseek",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema",
            id="deepseek-schema",
        ),
    ],
)
def test_what_would_mean_something_else_is_refused_by_name(provider: str, fields: dict[str, Any], feature: str) -> None:
    """So that the next backend is asked."""
    with pytest.raises(UnsupportedFeature, match=feature):
        sent(chat(provider), **fields)


def test_nested_features_are_taken_out_where_they_stand() -> None:
    """Names, marks, details and strictness; the client's own body is not touched."""
    names = ("messages.name", "messages.cache_control", "content.detail", "tools.strict")
    mark = {"type": "ephemeral"}
    image = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,", "detail": "low"},
        "cache_control": mark,
    }
    messages = [{"role": "user", "name": "anna", "content": [image], "cache_control": mark}]
    body, dropped = sent(
        OpenAITranslator(quirks=Quirks(dropped=names)), messages=messages, tools=[{**TOOLS[0], "cache_control": mark}]
    )
    assert dropped == tuple(sorted(names))
    plain = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    assert body["messages"] == [{"role": "user", "content": [plain]}]
    assert body["tools"] == [{"type": "function", "function": {"name": "f", "parameters": {}}}]
