"""Request goldens against the types of Cohere's own SDK: no unknown field, no missing one, none of a wrong type."""

from __future__ import annotations

import inspect
import json
from functools import cache
from typing import Any, get_type_hints

import pytest
from cohere.v2.raw_client import RawV2Client
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from tests.fakes.cohere_checks import CHAT_FIELDS, check_chat
from tests.golden.dialects import cases


@cache
def validator() -> Draft202012Validator:
    """The parameters of the SDK's ``chat``, closed: its models let unknown fields pass, and the API does not."""
    hints = get_type_hints(RawV2Client.chat_stream)
    names = [
        name
        for name in inspect.signature(RawV2Client.chat_stream).parameters
        if name not in {"self", "request_options"}
    ]
    properties: dict[str, Any] = {"stream": {"type": "boolean"}}
    definitions: dict[str, Any] = {}
    for name in names:
        described = TypeAdapter(hints[name]).json_schema()
        definitions |= described.pop("$defs", {})
        properties[name] = described
    for definition in definitions.values():
        if "properties" in definition:
            definition["additionalProperties"] = False
    return Draft202012Validator(
        {
            "type": "object",
            "properties": properties,
            "required": ["model", "messages", "stream"],
            "additionalProperties": False,
            "$defs": definitions,
        }
    )


def bodies() -> list[Any]:
    """The request of every case that is sent to the provider."""
    goldens = [(case.name, json.loads((case / "cohere.request.json").read_bytes())) for case in cases()]
    return [pytest.param(golden["body"], id=name) for name, golden in goldens if "body" in golden]


@pytest.mark.parametrize("body", bodies())
def test_request_is_of_the_sdks_type(body: dict[str, Any]) -> None:
    """What we write is what Cohere's own client could have written."""
    problems = validator().iter_errors(body)
    assert [f"{problem.json_path}: {problem.message[:300]}" for problem in problems] == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"top_p": 0.5}, id="unknown field"),
        pytest.param({"max_tokens": "10"}, id="limit of a wrong type"),
        pytest.param({"messages": [{"role": "developer", "content": "x"}]}, id="unknown role"),
        pytest.param({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, id="unknown part"),
        pytest.param({"messages": [{"role": "tool", "content": "x"}]}, id="result without an id"),
        pytest.param({"tools": [{"type": "function", "function": {"name": "f"}}]}, id="tool without parameters"),
        pytest.param({"thinking": {"budget": 5}}, id="thinking of another kind"),
    ],
)
def test_oracle_finds_what_is_wrong(change: dict[str, Any]) -> None:
    """It is not satisfied with anything."""
    right = {"model": "command-a-03-2025", "stream": False, "messages": [{"role": "user", "content": "Hello!"}]}
    assert validator().is_valid(right)
    assert not validator().is_valid(right | change)


def test_goldens_are_there() -> None:
    """An empty table would pass every test above."""
    assert len(bodies()) > 40


@pytest.mark.parametrize("body", bodies())
def test_turns_are_as_cohere_takes_them(body: dict[str, Any]) -> None:
    """The types say nothing of that; the documented errors do, which the fake follows."""
    if set(body) <= CHAT_FIELDS:
        check_chat(body)
