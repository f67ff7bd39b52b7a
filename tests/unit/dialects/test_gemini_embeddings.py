"""Embeddings in Google's two formats: what is asked, what is understood, and what is not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from extproc.dialects.base import GarbledReply, UpstreamReply
from extproc.dialects.gemini import GeminiEmbeddings, VertexEmbeddings
from extproc.errors import InvalidRequest, KortexError, UnsupportedFeature, UpstreamError
from extproc.headers import Headers
from extproc.openai.call import Call, Operation, parse_call

BOTH = pytest.mark.parametrize("translator", [GeminiEmbeddings(), VertexEmbeddings()], ids=["gemini", "vertex"])
Translator = GeminiEmbeddings | VertexEmbeddings


def call(**fields: Any) -> Call:
    """A client's call."""
    return parse_call(Operation.EMBEDDINGS, orjson.dumps({"model": "asked", "input": "x", **fields}))


def sent(translator: Translator, **fields: Any) -> Any:
    """The body that is written."""
    body = translator.encode(call(**fields), "gemini-embedding-001").body
    assert body is not None
    return orjson.loads(body)


def decoded(translator: Translator, body: Any, **fields: Any) -> Any:
    """The client's reply."""
    reply = UpstreamReply(status=200, headers=Headers(), body=orjson.dumps(body))
    return orjson.loads(translator.decode(reply, call(**fields)).body)


def test_gemini_is_asked_for_all_texts_at_once() -> None:
    """Each with the model's whole name, and the size where one is wanted."""
    one = {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "a"}]}}
    assert sent(GeminiEmbeddings(), input="a") == {"requests": [one]}
    two = [
        {**one, "outputDimensionality": 4},
        {**one, "content": {"parts": [{"text": "b"}]}, "outputDimensionality": 4},
    ]
    assert sent(GeminiEmbeddings(), input=["a", "b"], dimensions=4) == {"requests": two}


def test_vertex_is_asked_not_to_cut_texts() -> None:
    """OpenAI refuses what is too long."""
    assert sent(VertexEmbeddings(), input=["a", "b"]) == {
        "instances": [{"content": "a"}, {"content": "b"}],
        "parameters": {"autoTruncate": False},
    }
    assert sent(VertexEmbeddings(), dimensions=4)["parameters"] == {"autoTruncate": False, "outputDimensionality": 4}


def test_usage_is_what_the_provider_tells() -> None:
    """Unknown stays unknown, also where it is told of one text only."""
    vectors = {"embeddings": [{"values": [0.5]}]}
    assert "usage" not in decoded(GeminiEmbeddings(), vectors)
    told = decoded(GeminiEmbeddings(), {**vectors, "usageMetadata": {"promptTokenCount": 3}})
    assert told["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    known = {"embeddings": {"values": [0.5], "statistics": {"token_count": 3.0, "truncated": False}}}
    assert decoded(VertexEmbeddings(), {"predictions": [known, known]})["usage"]["prompt_tokens"] == 6
    unknown = {"embeddings": {"values": [0.5]}}
    body = decoded(VertexEmbeddings(), {"predictions": [known, unknown]})
    assert "usage" not in body
    assert [item["embedding"] for item in body["data"]] == [[0.5], [0.5]]


@BOTH
def test_user_is_reported_as_dropped(translator: Translator) -> None:
    """As every knob that a provider lacks."""
    assert translator.encode(call(user="u", encoding_format="base64"), "m").dropped == ("user",)


@BOTH
@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param({"input": [1, 2]}, UnsupportedFeature, id="tokens"),
        pytest.param({"dimensions": -1}, InvalidRequest, id="dimensions"),
        pytest.param({"encoding_format": "int8"}, InvalidRequest, id="format"),
    ],
)
def test_what_cannot_be_had_is_refused(
    translator: Translator, fields: dict[str, Any], error: type[KortexError]
) -> None:
    """Before anybody is asked."""
    with pytest.raises(error):
        translator.encode(call(**fields), "m")


@BOTH
@pytest.mark.parametrize(
    "body",
    [
        *({}, [], None, {"embeddings": None, "predictions": None}, {"embeddings": [{}], "predictions": [{}]}),
        {"embeddings": [{"values": "x"}], "predictions": [{"embeddings": {"values": None}}]},
        {"embeddings": [{"values": ["x"]}], "predictions": [{"embeddings": {"values": ["x"]}}]},
    ],
)
def test_nonsense_is_the_providers_fault(translator: Translator, body: Any) -> None:
    """So that the next one is asked."""
    with pytest.raises(GarbledReply):
        decoded(translator, body, encoding_format="base64")


@BOTH
def test_error_in_a_200_is_an_error(translator: Translator) -> None:
    """With its own status."""
    body = {"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}}
    with pytest.raises(UpstreamError, match=r"Slow down\.") as caught:
        decoded(translator, body)
    assert caught.value.status == 429
    reply = UpstreamReply(status=429, headers=Headers(), body=orjson.dumps(body))
    assert translator.decode_error(reply).code == "rate_limit_exceeded"
