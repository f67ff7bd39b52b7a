"""Request goldens against botocore's own model of Converse and ConverseStream, by the validator of AWS's SDK."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.fakes.converse_checks import shape_problems
from tests.golden.dialects import cases

RIGHT: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "Hello!"}]}]}


def bodies() -> list[Any]:
    """The request of every case that is sent to the provider."""
    goldens = [(case.name, json.loads((case / "converse.request.json").read_bytes())) for case in cases()]
    return [pytest.param(golden["body"], id=name) for name, golden in goldens if "body" in golden]


@pytest.mark.parametrize("body", bodies())
@pytest.mark.parametrize("operation", ["Converse", "ConverseStream"])
def test_request_is_of_botocores_shape(body: dict[str, Any], operation: str) -> None:
    """No unknown field, no missing one, none of a wrong type, and of every union one member."""
    assert shape_problems(body, operation) == ""


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"seed": 7}, id="unknown field"),
        pytest.param({"inferenceConfig": {"maxTokens": "10"}}, id="limit of a wrong type"),
        pytest.param({"messages": [{"role": "user"}]}, id="message without content"),
        pytest.param({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, id="block"),
        pytest.param({"toolConfig": {"tools": [{"toolSpec": {"name": "f"}}]}}, id="tool without a schema"),
        pytest.param({"toolConfig": {"tools": []}}, id="no tools"),
        pytest.param({"system": [{"text": ""}]}, id="empty text"),
    ],
)
def test_oracle_finds_what_is_wrong(change: dict[str, Any]) -> None:
    """It is not satisfied with anything."""
    assert shape_problems(copy.deepcopy(RIGHT), "Converse") == ""
    assert shape_problems({**RIGHT, **change}, "Converse") != ""


def test_goldens_are_there() -> None:
    """An empty table would pass every test above."""
    assert len(bodies()) > 40
