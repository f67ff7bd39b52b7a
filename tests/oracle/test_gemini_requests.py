"""Request goldens against the types of Google's own SDK: no unknown field, none of a wrong type."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.genai import types
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from tests.golden.dialects import cases


class Request(BaseModel):
    """The body of generateContent, which the SDK puts together itself, made of the SDK's types; all refuse extras."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    contents: list[types.Content]
    system_instruction: types.Content | None = None
    tools: list[types.Tool] | None = None
    tool_config: types.ToolConfig | None = None
    generation_config: types.GenerationConfig | None = None
    safety_settings: list[types.SafetySetting] | None = None
    cached_content: str | None = None
    labels: dict[str, str] | None = None


def bodies() -> list[Any]:
    """The request of every case that is sent to the provider."""
    goldens = [(case.name, json.loads((case / "gemini.request.json").read_bytes())) for case in cases()]
    return [pytest.param(golden["body"], id=name) for name, golden in goldens if "body" in golden]


def names(value: Any) -> Any:
    """The members of a document, and of all that is in it, without their values."""
    if isinstance(value, list):
        return [names(item) for item in value]
    return {key: names(part) for key, part in value.items()} if isinstance(value, dict) else None


def schemas(body: dict[str, Any]) -> list[Any]:
    """Every JSON Schema in a request."""
    declared = [one for tool in body.get("tools", ()) for one in tool.get("functionDeclarations", ())]
    found = [one.get("parametersJsonSchema") for one in declared]
    return [schema for schema in (*found, body.get("generationConfig", {}).get("responseJsonSchema")) if schema]


@pytest.mark.parametrize("body", bodies())
def test_request_is_of_the_sdks_types(body: dict[str, Any]) -> None:
    """What we write is what Google's own client could have written, and names every field as it does."""
    read = Request.model_validate(body)
    assert names(json.loads(read.model_dump_json(by_alias=True, exclude_unset=True))) == names(body)
    for schema in schemas(body):
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("body", bodies())
def test_every_part_has_one_kind_of_data(body: dict[str, Any]) -> None:
    """What the API calls ``required oneof field 'data' must have one initialized field``."""
    kinds = {"text", "inlineData", "fileData", "functionCall", "functionResponse"}
    for content in (*body["contents"], body.get("systemInstruction", {"parts": []})):
        assert all(len(kinds & part.keys()) == 1 for part in content["parts"])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"seed": 7}, id="unknown field"),
        pytest.param({"generationConfig": {"max_tokens": 7}}, id="unknown knob"),
        pytest.param({"generationConfig": {"temperature": "hot"}}, id="knob of a wrong type"),
        pytest.param({"contents": "x"}, id="no contents"),
        pytest.param({"contents": [{"role": "user", "parts": [{"text": "x", "y": 1}]}]}, id="part"),
        pytest.param({"contents": [{"role": "user", "parts": [{"inlineData": {"url": "x"}}]}]}, id="data"),
        pytest.param({"tools": [{"function": {"name": "f"}}]}, id="tool"),
        pytest.param({"tools": [{"functionDeclarations": [{"name": "f", "schema": {}}]}]}, id="declaration"),
    ],
)
def test_oracle_finds_what_is_wrong(change: dict[str, Any]) -> None:
    """It is not satisfied with anything."""
    right: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hello!"}]}]}
    Request.model_validate(right)
    with pytest.raises(ValidationError):
        Request.model_validate(right | change)


def test_goldens_are_there() -> None:
    """An empty table would pass every test above."""
    assert len(bodies()) > 40
