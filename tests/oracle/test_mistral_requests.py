"""Request goldens against the types of Mistral's own SDK: no unknown field, no missing one, none of a wrong type."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mistralai.client.models import ChatCompletionRequest

from tests.fakes.mistral_checks import check_chat
from tests.golden.dialects import cases


@cache
def validator() -> Draft202012Validator:
    """The SDK's request type, closed, as the API itself is."""
    described = ChatCompletionRequest.model_json_schema(by_alias=True)
    for definition in described["$defs"].values():
        if "properties" in definition:
            definition["additionalProperties"] = False
    described["additionalProperties"] = False
    return Draft202012Validator(described)


# The client's own mistakes, which the provider is left to judge.
WRONG = {
    "content_of_a_wrong_type",
    "role_unknown",
    "tool_calls_of_a_wrong_type",
    "tool_without_a_name",
    "tool_with_a_name_too_long",
}


def bodies() -> list[Any]:
    """The request of every case that is sent to the provider."""
    goldens = [(case.name, json.loads((case / "mistral.request.json").read_bytes())) for case in cases()]
    return [pytest.param(golden["body"], id=name) for name, golden in goldens if "body" in golden and name not in WRONG]


@pytest.mark.parametrize("body", bodies())
def test_request_is_of_the_sdks_type(body: dict[str, Any]) -> None:
    """What we write is what Mistral's own client could have written."""
    problems = validator().iter_errors(body)
    assert [f"{problem.json_path}: {problem.message[:300]}" for problem in problems] == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"seed": 7}, id="unknown field"),
        pytest.param({"stream_options": {"include_usage": True}}, id="stream options"),
        pytest.param({"messages": [{"role": "developer", "content": "x"}]}, id="unknown role"),
        pytest.param({"messages": [{"role": "user", "content": "x", "name": "y"}]}, id="unknown key"),
        pytest.param({"tools": [{"type": "function", "function": {"name": "f"}}]}, id="tool without parameters"),
    ],
)
def test_oracle_finds_what_is_wrong(change: dict[str, Any]) -> None:
    """It is not satisfied with anything."""
    right = {"model": "mistral-large-latest", "messages": [{"role": "user", "content": "Hello!"}]}
    assert validator().is_valid(right)
    assert not validator().is_valid(right | change)


def test_goldens_are_there() -> None:
    """An empty table would pass every test above."""
    assert len(bodies()) > 40


@pytest.mark.parametrize("body", bodies())
def test_turns_are_in_an_order_that_mistral_takes(body: dict[str, Any]) -> None:
    """The types say nothing of that; its own validator does, which the fake follows."""
    if not ids_of_calls(body) ^ ids_of_results(body):
        check_chat(body)


def ids_of_calls(body: dict[str, Any]) -> set[str]:
    """Where a result is missing, or has no call, the client is to blame."""
    return {call["id"] for message in body["messages"] for call in message.get("tool_calls") or ()}


def ids_of_results(body: dict[str, Any]) -> set[str]:
    """As above."""
    return {message["tool_call_id"] for message in body["messages"] if message["role"] == "tool"}
