"""Embeddings of Titan and Cohere behind InvokeModel."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from extproc.dialects.base import GarbledReply, UpstreamReply
from extproc.dialects.bedrock_embeddings import CohereEmbeddings, TitanEmbeddings
from extproc.dialects.bedrock_embeddings.invoked import InvokedEmbeddings
from extproc.errors import ClientError, InvalidRequest, UnsupportedFeature
from extproc.headers import Headers
from extproc.openai.call import Call, Operation, parse_call
from extproc.openai.usage import Usage

TITAN, COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-v4:0"
COUNT = ("x-amzn-bedrock-input-token-count", "4")


def call(**fields: Any) -> Call:
    """A client's."""
    return parse_call(Operation.EMBEDDINGS, orjson.dumps({"model": "asked", "input": "hello", **fields}))


def body(translator: InvokedEmbeddings, model: str, **fields: Any) -> Any:
    """What the provider is sent."""
    request = translator.encode(call(**fields), model)
    assert request.body is not None
    return orjson.loads(request.body)


def answer(translator: InvokedEmbeddings, reply: Any, *headers: tuple[str, str], **fields: Any) -> Any:
    """The client's reply and its usage."""
    content = reply if isinstance(reply, bytes) else orjson.dumps(reply)
    decoded = translator.decode(UpstreamReply(status=200, headers=Headers(headers), body=content), call(**fields))
    return orjson.loads(decoded.body), decoded.usage


@pytest.mark.parametrize(
    ("translator", "model", "fields", "expected"),
    [
        (TitanEmbeddings(), TITAN, {}, {"inputText": "hello"}),
        (TitanEmbeddings(), TITAN, {"input": ["one"]}, {"inputText": "one"}),
        (TitanEmbeddings(), TITAN, {"dimensions": 256}, {"inputText": "hello", "dimensions": 256}),
        (TitanEmbeddings(), TITAN, {"bedrock": {"normalize": False}}, {"inputText": "hello", "normalize": False}),
        (
            CohereEmbeddings(),
            COHERE,
            {"input": ["a", "b"], "dimensions": 512},
            {
                "texts": ["a", "b"],
                "input_type": "search_document",
                "embedding_types": ["float"],
                "output_dimension": 512,
            },
        ),
        (
            CohereEmbeddings(),
            "cohere.embed-english-v3",
            {"bedrock": {"input_type": "search_query", "truncate": "END"}},
            {"texts": ["hello"], "input_type": "search_query", "embedding_types": ["float"], "truncate": "END"},
        ),
    ],
)
def test_request_is_in_the_makers_format(
    translator: InvokedEmbeddings, model: str, fields: dict[str, Any], expected: Any
) -> None:
    """The model's own fields may be set by the client."""
    assert body(translator, model, **fields) == expected


@pytest.mark.parametrize(
    ("translator", "model", "fields", "error", "param"),
    [
        (TitanEmbeddings(), TITAN, {"input": ["a", "b"]}, UnsupportedFeature, "input"),
        (TitanEmbeddings(), "amazon.titan-embed-text-v1", {"dimensions": 256}, UnsupportedFeature, "dimensions"),
        (CohereEmbeddings(), "cohere.embed-english-v3", {"dimensions": 256}, UnsupportedFeature, "dimensions"),
        (CohereEmbeddings(), COHERE, {"input": ["a"] * 97}, UnsupportedFeature, "input"),
        (CohereEmbeddings(), COHERE, {"input": [1, 2, 3]}, UnsupportedFeature, "input"),
        (CohereEmbeddings(), COHERE, {"encoding_format": "int8"}, InvalidRequest, "encoding_format"),
        (CohereEmbeddings(), COHERE, {"dimensions": 0}, InvalidRequest, "dimensions"),
        (CohereEmbeddings(), COHERE, {"bedrock": [1]}, InvalidRequest, "bedrock"),
    ],
)
def test_request_is_refused_by_name_when_it_cannot_be_had(
    translator: InvokedEmbeddings, model: str, fields: dict[str, Any], error: type[ClientError], param: str
) -> None:
    """Nothing is embedded in another way than was asked."""
    with pytest.raises(error) as caught:
        body(translator, model, **fields)
    assert caught.value.param == param


def test_knobs_are_dropped_and_named() -> None:
    """``user`` has no place."""
    assert TitanEmbeddings().encode(call(user="me", frobnicate=1), TITAN).dropped == ("frobnicate", "user")


def test_usage_stands_in_the_body_or_a_header_or_nowhere() -> None:
    """Unknown is not zero."""
    one = {"embedding": [0.5, -1.0], "inputTextTokenCount": 3}
    told, usage = answer(TitanEmbeddings(), one, COUNT)
    assert (usage, told["usage"]) == (Usage(input=3, output=0), {"prompt_tokens": 3, "total_tokens": 3})
    assert told["data"] == [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}]
    assert told["model"] == "asked"
    assert answer(TitanEmbeddings(), {"embedding": [0.5]}, COUNT)[1] == Usage(input=4, output=0)
    told, usage = answer(TitanEmbeddings(), {"embedding": [0.5]})
    assert usage is None
    assert "usage" not in told


@pytest.mark.parametrize("vectors", [[[0.5], [1.0]], {"float": [[0.5], [1.0]]}], ids=["plain", "by type"])
def test_vectors_of_cohere_come_in_either_shape(vectors: Any) -> None:
    """In the client's format."""
    told, _ = answer(CohereEmbeddings(), {"embeddings": vectors}, encoding_format="base64")
    assert [item["embedding"] for item in told["data"]] == ["AAAAPw==", "AACAPw=="]


@pytest.mark.parametrize("translator", [TitanEmbeddings(), CohereEmbeddings()])
@pytest.mark.parametrize(
    "reply", [b"", b"<html>", b"[]", b"{}", b'{"embedding":7,"embeddings":7}', b'{"embeddings":{"int8":[[1]]}}']
)
def test_reply_of_another_shape_is_garbled(translator: InvokedEmbeddings, reply: bytes) -> None:
    """So that the next backend is asked."""
    with pytest.raises(GarbledReply):
        answer(translator, reply)


def test_error_is_aws_s() -> None:
    """As everywhere at Bedrock."""
    reply = UpstreamReply(
        status=429, headers=Headers([("x-amzn-errortype", "ThrottlingException")]), body=b'{"message":"Slow down."}'
    )
    error = TitanEmbeddings().decode_error(reply)
    assert (error.status, error.code, error.message) == (429, "rate_limit_exceeded", "Slow down.")
