"""What is different where Google Cloud has the API: labels, addresses with their type, Claude without addresses."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from extproc.dialects.anthropic import AnthropicTranslator
from extproc.dialects.anthropic.hosting import VERTEX
from extproc.dialects.base import Translator
from extproc.dialects.gemini import GeminiTranslator
from extproc.errors import UnsupportedFeature
from extproc.openai.call import Operation, parse_call

CLOUD = GeminiTranslator(cloud=True)
CLAUDE = AnthropicTranslator(hosting=VERTEX)


def sent(translator: Translator, model: str, **fields: Any) -> tuple[Any, tuple[str, ...]]:
    """The body that is written, and what is dropped."""
    body = {"model": "asked", "messages": [{"role": "user", "content": "hi"}], **fields}
    request = translator.encode(parse_call(Operation.CHAT, orjson.dumps(body)), model)
    assert request.body is not None
    return orjson.loads(request.body), request.dropped


def content(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    """One message."""
    return [{"role": "user", "content": list(parts)}]


@pytest.mark.parametrize(
    ("fields", "labels", "dropped"),
    [
        ({}, None, ()),
        ({"metadata": {"team": "search", "cost-center": "42"}}, {"team": "search", "cost-center": "42"}, ()),
        ({"metadata": {"Team": "search", "env": "prod"}}, {"env": "prod"}, ("metadata",)),
        ({"metadata": {"env": "Production Line"}}, None, ("metadata",)),
        ({"user": "user-17"}, {"user": "user-17"}, ()),
        ({"user": "Ann@example.org"}, None, ("user",)),
        ({"user": "u", "metadata": {"user": "v"}}, {"user": "v"}, ("user",)),
    ],
)
def test_metadata_is_labels_where_it_can_be(
    fields: dict[str, Any], labels: dict[str, str] | None, dropped: tuple[str, ...]
) -> None:
    """Google's bills are broken down by them; what cannot be one is named."""
    body, lost = sent(CLOUD, "gemini-2.5-flash", **fields)
    assert (body.get("labels"), lost) == (labels, dropped)


def test_address_is_sent_with_its_type() -> None:
    """Which is asked for there; storage of Google's own is an address too."""
    picture = {"type": "image_url", "image_url": {"url": "gs://bucket/cat.png"}}
    paper = {"type": "file", "file": {"file_data": "https://example.org/a.pdf?v=1"}}
    body, _ = sent(CLOUD, "gemini-2.5-flash", messages=content(picture, paper))
    assert body["contents"][0]["parts"] == [
        {"fileData": {"mimeType": "image/png", "fileUri": "gs://bucket/cat.png"}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.org/a.pdf?v=1"}},
    ]
    with pytest.raises(UnsupportedFeature, match="cannot be told from its address"):
        sent(CLOUD, "gemini-2.5-flash", messages=content({**picture, "image_url": {"url": "https://x.org/7"}}))


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
        {"type": "file", "file": {"file_data": "https://example.org/a.pdf"}},
    ],
)
def test_claude_fetches_nothing_there(part: dict[str, Any]) -> None:
    """Images and documents come as data, or not at all."""
    with pytest.raises(UnsupportedFeature):
        sent(CLAUDE, "claude-sonnet-4-5", messages=content(part))


def test_claude_is_asked_as_vertex_wants_it() -> None:
    """The version in the body, the model in the path, betas in a header."""
    data = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    body, _ = sent(CLAUDE, "claude-sonnet-4-5@20250929", messages=content(data), stream=True)
    assert body["anthropic_version"] == "vertex-2023-10-16"
    assert body["stream"] is True
    assert "model" not in body
    request = parse_call(
        Operation.CHAT,
        orjson.dumps(
            {"model": "m", "messages": [{"role": "user", "content": "x"}], "anthropic": {"betas": ["context-1m"]}}
        ),
    )
    assert CLAUDE.encode(request, "claude-sonnet-4-5").headers == (("anthropic-beta", "context-1m"),)


def test_fields_of_google_clouds_own_are_passed_there_and_nowhere_else() -> None:
    """Over those of both."""
    own = {"gemini": {"generationConfig": {"topK": 5}}, "vertex": {"generationConfig": {"audioTimestamp": True}}}
    body, dropped = sent(CLOUD, "gemini-2.5-flash", **own)
    assert (body["generationConfig"], dropped) == ({"topK": 5, "audioTimestamp": True}, ())
    body, dropped = sent(GeminiTranslator(), "gemini-2.5-flash", **own)
    assert (body["generationConfig"], dropped) == ({"topK": 5}, ("vertex",))
