"""Request goldens against botocore's own model of Converse and ConverseStream, by the validator of AWS's SDK."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from tests.golden.dialects import cases

SERVICE = botocore.session.get_session().get_service_model("bedrock-runtime")
RIGHT: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "Hello!"}]}]}


def problems(body: dict[str, Any], operation: str) -> str:
    """What botocore objects to; empty when it would send it."""
    shape = SERVICE.operation_model(operation).input_shape
    report = ParamValidator().validate({"modelId": "m", **read_as_sdk(body)}, shape)
    return "" if not report.has_errors() else str(report.generate_report())


def read_as_sdk(value: Any) -> Any:
    """The body as a user of the SDK holds it: bytes where the wire has base64."""
    if isinstance(value, list):
        return [read_as_sdk(item) for item in value]
    if not isinstance(value, dict):
        return value
    blobs = {"bytes", "redactedContent"}
    return {
        name: base64.b64decode(part, validate=True) if name in blobs and isinstance(part, str) else read_as_sdk(part)
        for name, part in value.items()
    }


def bodies() -> list[Any]:
    """The request of every case that is sent to the provider."""
    goldens = [(case.name, json.loads((case / "converse.request.json").read_bytes())) for case in cases()]
    return [pytest.param(golden["body"], id=name) for name, golden in goldens if "body" in golden]


@pytest.mark.parametrize("body", bodies())
@pytest.mark.parametrize("operation", ["Converse", "ConverseStream"])
def test_request_is_of_botocores_shape(body: dict[str, Any], operation: str) -> None:
    """No unknown field, no missing one, none of a wrong type, and of every union one member."""
    assert problems(body, operation) == ""


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
    assert problems(copy.deepcopy(RIGHT), "Converse") == ""
    assert problems({**RIGHT, **change}, "Converse") != ""


def test_goldens_are_there() -> None:
    """An empty table would pass every test above."""
    assert len(bodies()) > 40
