"""Request goldens against the types of Anthropic's own SDK: no unknown field, no missing one, none of a wrong type."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from tests.golden.dialects import cases

# The SDK sends API version 2026-10-21, which has no sampling parameters; we send 2023-06-01, for the models that have.
SAMPLING = {name: {"type": "number"} for name in ("temperature", "top_p", "top_k")}
# JSON Schema itself, whose words the SDK does not list.
OPEN = {"InputSchemaTyped"}


@cache
def validator(*, stream: bool) -> Draft202012Validator:
    """The SDK's request type, closed: pydantic lets a TypedDict's unknown keys pass."""
    if stream:
        described = TypeAdapter(MessageCreateParamsStreaming).json_schema()
    else:
        described = TypeAdapter(MessageCreateParamsNonStreaming).json_schema()
    for name, definition in described["$defs"].items():
        if "properties" in definition and name not in OPEN:
            definition["additionalProperties"] = False
    described["properties"] |= SAMPLING
    described["additionalProperties"] = False
    return Draft202012Validator(described)


def bodies() -> list[Any]:
    """The request of every case that is sent to the provider."""
    goldens = [(case.name, json.loads((case / "anthropic.request.json").read_bytes())) for case in cases()]
    return [pytest.param(golden["body"], id=name) for name, golden in goldens if "body" in golden]


@pytest.mark.parametrize("body", bodies())
def test_request_is_of_the_sdks_type(body: dict[str, Any]) -> None:
    """What we write is what Anthropic's own client could have written."""
    problems = validator(stream=bool(body.get("stream"))).iter_errors(body)
    assert [f"{problem.json_path}: {problem.message[:200]}" for problem in problems] == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"seed": 7}, id="unknown field"),
        pytest.param({"max_tokens": None}, id="limit of a wrong type"),
        pytest.param({"messages": [{"role": "tool", "content": "x"}]}, id="unknown role"),
        pytest.param({"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "y": 1}]}]}, id="block"),
        pytest.param({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, id="unknown block"),
        pytest.param({"thinking": {"type": "enabled"}}, id="thinking without a budget"),
        pytest.param({"tools": [{"name": "f"}]}, id="tool without a schema"),
    ],
)
def test_oracle_finds_what_is_wrong(change: dict[str, Any]) -> None:
    """It is not satisfied with anything."""
    right = {"model": "claude-sonnet-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello!"}]}
    assert validator(stream=False).is_valid(right)
    assert not validator(stream=False).is_valid(right | change)


def test_goldens_are_there() -> None:
    """An empty table would pass every test above."""
    assert len(bodies()) > 40
