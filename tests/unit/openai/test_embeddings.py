"""Embeddings: what clients ask and what they get."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest

from extproc.errors import InvalidRequest, KortexError, UnsupportedFeature
from extproc.exchange.assignment import Assignment, read_assignment
from extproc.openai.call import Call, Operation, parse_call
from extproc.openai.embeddings import check_encoding_format, embeddings_body, input_texts, wanted_dimensions
from extproc.openai.usage import Usage

VECTORS = [[0.5, -1.0], [0.25, 2.0]]


def call(*, base64: bool) -> Call:
    """An embeddings call."""
    return Call(operation=Operation.EMBEDDINGS, model="asked", body=b"{}", base64=base64)


@pytest.mark.parametrize(("given", "expected"), [("a", ["a"]), (["a", "b"], ["a", "b"])])
def test_texts_are_read(given: Any, expected: list[str]) -> None:
    """One or many."""
    assert input_texts({"input": given}) == expected


@pytest.mark.parametrize(
    ("given", "error"),
    [
        pytest.param([1, 2], UnsupportedFeature, id="tokens"),
        pytest.param([[1], [2]], UnsupportedFeature, id="arrays-of-tokens"),
        pytest.param(["a", None], InvalidRequest, id="mixed"),
        pytest.param(None, InvalidRequest, id="none"),
    ],
)
def test_other_inputs_are_refused(given: Any, error: type[KortexError]) -> None:
    """By name."""
    with pytest.raises(error) as caught:
        input_texts({"input": given})
    assert caught.value.param == "input"


def test_knobs_are_checked() -> None:
    """Before anybody is asked."""
    assert wanted_dimensions({"dimensions": 256}) == 256
    assert wanted_dimensions({}) is None
    check_encoding_format({"encoding_format": "base64"})
    for fields in ({"dimensions": 0}, {"dimensions": "x"}, {"dimensions": True}):
        with pytest.raises(InvalidRequest):
            wanted_dimensions(fields)
    with pytest.raises(InvalidRequest):
        check_encoding_format({"encoding_format": "int8"})


def test_embeddings_are_written_as_floats() -> None:
    """Usage that is not known is not there."""
    body = orjson.loads(embeddings_body(VECTORS, call(base64=False), None))
    assert [item["embedding"] for item in body["data"]] == VECTORS
    assert [item["index"] for item in body["data"]] == [0, 1]
    assert body["model"] == "asked"
    assert "usage" not in body


def test_embeddings_are_written_as_base64() -> None:
    """Of little-endian floats of 32 bits."""
    body = orjson.loads(embeddings_body(VECTORS, call(base64=True), Usage(input=7, output=0)))
    read = [list(struct.unpack("<2f", base64.b64decode(item["embedding"]))) for item in body["data"]]
    assert read == VECTORS
    assert body["usage"] == {"prompt_tokens": 7, "total_tokens": 7}


@pytest.mark.parametrize(("format_", "expected"), [("base64", True), ("float", False), (None, False)])
def test_wish_for_base64_reaches_the_reply(format_: str | None, expected: bool) -> None:
    """Through the assignment, which is all that an attempt knows of the request when it reads a reply."""
    parsed = parse_call(Operation.EMBEDDINGS, orjson.dumps({"model": "m", "input": "x", "encoding_format": format_}))
    assert parsed.base64 is expected
    assignment = Assignment(
        operation=Operation.EMBEDDINGS,
        asked="m",
        model="m",
        stream=False,
        include_usage=False,
        route="r",
        plan=("b",),
        retries=0,
        try_ms=1,
        idle_ms=1,
        arrived_ms=1,
        deadline_ms=None,
        base64=parsed.base64,
    )
    assert read_assignment(assignment.to_header().decode()).call(b"{}").base64 is expected
