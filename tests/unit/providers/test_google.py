"""Where the operations of Google's two providers live, and what they are sent with."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from extproc.dialects.anthropic import AnthropicTranslator
from extproc.dialects.gemini import GeminiEmbeddings, GeminiTranslator, VertexEmbeddings
from extproc.metering.price import PriceBook
from extproc.openai.call import Call, Operation
from extproc.providers.gemini import GEMINI
from extproc.providers.token_request import GoogleToken
from extproc.providers.vertex import VERTEX

PROJECT = "/projects/my-project/locations"


def call(operation: Operation = Operation.CHAT, *, stream: bool = False) -> Call:
    """A call of which only the kind matters here."""
    return Call(operation=operation, model="asked", body=b"{}", stream=stream)


def vertex(**keys: Any) -> Any:
    """A backend's settings."""
    return VERTEX.settings.model_validate({"provider": "vertex", "project": "my-project", **keys})


def gemini(**keys: Any) -> Any:
    """A backend's settings."""
    return GEMINI.settings.model_validate({"provider": "gemini", "apiKey": {"env": "KEY"}, **keys})


@pytest.mark.parametrize(
    ("keys", "model", "asked", "path"),
    [
        pytest.param({}, "gemini-x", call(), "/v1beta/models/gemini-x:generateContent", id="whole"),
        pytest.param(
            {}, "gemini-x", call(stream=True), "/v1beta/models/gemini-x:streamGenerateContent?alt=sse", id="stream"
        ),
        pytest.param(
            {},
            "gemini-embedding-001",
            call(Operation.EMBEDDINGS),
            "/v1beta/models/gemini-embedding-001:batchEmbedContents",
            id="embeddings",
        ),
        pytest.param({}, "tunedModels/mine", call(), "/v1beta/tunedModels/mine:generateContent", id="tuned"),
        pytest.param(
            {"url": "http://proxy/google/v1"}, "x", call(), "/google/v1/models/x:generateContent", id="own-version"
        ),
        pytest.param({}, "../../x?y", call(), "/v1beta/models/..%2F..%2Fx%3Fy:generateContent", id="escaped"),
    ],
)
def test_gemini_is_asked_at_its_path(keys: dict[str, Any], model: str, asked: Call, path: str) -> None:
    """The model stands in the path."""
    assert GEMINI.path(gemini(**keys), asked, model) == path


@pytest.mark.parametrize(
    ("keys", "model", "asked", "path"),
    [
        pytest.param(
            {},
            "gemini-x",
            call(),
            f"/v1beta1{PROJECT}/global/publishers/google/models/gemini-x:generateContent",
            id="g",
        ),
        pytest.param(
            {"location": "europe-west4"},
            "gemini-x",
            call(stream=True),
            f"/v1beta1{PROJECT}/europe-west4/publishers/google/models/gemini-x:streamGenerateContent?alt=sse",
            id="stream",
        ),
        pytest.param(
            {},
            "text-embedding-005",
            call(Operation.EMBEDDINGS),
            f"/v1beta1{PROJECT}/global/publishers/google/models/text-embedding-005:predict",
            id="embeddings",
        ),
        pytest.param(
            {},
            "claude-sonnet-4-5@20250929",
            call(),
            f"/v1{PROJECT}/global/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict",
            id="claude",
        ),
        pytest.param(
            {"dialect": "anthropic"},
            "mine",
            call(stream=True),
            f"/v1{PROJECT}/global/publishers/anthropic/models/mine:streamRawPredict",
            id="claude-by-setting",
        ),
        pytest.param({}, "12345", call(), f"/v1beta1{PROJECT}/global/endpoints/12345:generateContent", id="endpoint"),
        pytest.param(
            {"model": "projects/p/locations/us-east1/endpoints/7"},
            "projects/p/locations/us-east1/endpoints/7",
            call(),
            "/v1beta1/projects/p/locations/us-east1/endpoints/7:generateContent",
            id="resource-of-the-operator",
        ),
        pytest.param(
            {},
            "projects/p/x",
            call(),
            f"/v1beta1{PROJECT}/global/publishers/google/models/projects%2Fp%2Fx:generateContent",
            id="resource-of-a-client",
        ),
        pytest.param(
            {},
            "publishers/meta/models/llama",
            call(),
            f"/v1beta1{PROJECT}/global/publishers/meta/models/llama:generateContent",
            id="publisher",
        ),
    ],
)
def test_vertex_is_asked_at_its_path(keys: dict[str, Any], model: str, asked: Call, path: str) -> None:
    """Project, location, maker and model."""
    assert VERTEX.path(vertex(**keys), asked, model) == path


@pytest.mark.parametrize(
    ("location", "url"),
    [
        (None, "https://aiplatform.googleapis.com"),
        ("global", "https://aiplatform.googleapis.com"),
        ("europe-west4", "https://europe-west4-aiplatform.googleapis.com"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_address_is_that_of_the_location(location: str | None, url: str) -> None:
    """Where the operator gives none."""
    assert vertex(**({"location": location} if location else {})).url == url
    assert vertex(location="eu", url="http://own").url == "http://own"


@pytest.mark.parametrize(
    ("keys", "hint"),
    [
        pytest.param({"apiKey": {"env": "KEY"}}, "vertex takes no key", id="key"),
        pytest.param({"project": "../x"}, "project", id="project"),
        pytest.param({"location": "evil.test/x"}, "location", id="location"),
        pytest.param({"dialect": "cohere"}, "dialect", id="dialect"),
    ],
)
def test_settings_that_make_no_sense_are_refused(keys: dict[str, Any], hint: str) -> None:
    """In words."""
    with pytest.raises(ValidationError, match=hint):
        vertex(**keys)


def test_model_chooses_the_dialect_and_the_setting_wins() -> None:
    """Claude speaks Anthropic's, and has no embeddings."""
    offered = VERTEX.translator
    assert offered(Operation.CHAT, vertex(), "gemini-x") == GeminiTranslator(cloud=True)
    assert isinstance(offered(Operation.CHAT, vertex(), "claude-x"), AnthropicTranslator)
    assert isinstance(offered(Operation.CHAT, vertex(dialect="anthropic"), "mine"), AnthropicTranslator)
    assert isinstance(offered(Operation.CHAT, vertex(dialect="gemini"), "claude-x"), GeminiTranslator)
    assert isinstance(offered(Operation.EMBEDDINGS, vertex(), "text-embedding-005"), VertexEmbeddings)
    assert offered(Operation.EMBEDDINGS, vertex(), "claude-x") is None
    assert isinstance(GEMINI.translator(Operation.EMBEDDINGS, gemini(), "x"), GeminiEmbeddings)
    assert GEMINI.translator(Operation.TEXT_COMPLETION, gemini(), "x") is None


def test_credentials_travel_in_googles_headers() -> None:
    """A key of AI Studio's is no bearer token."""
    assert GEMINI.authorize(gemini(), "key") == (("x-goog-api-key", "key"),)
    assert VERTEX.authorize(vertex(), "ya29.token") == (("authorization", "Bearer ya29.token"),)
    assert VERTEX.token is not None
    assert VERTEX.token(vertex(credentialsFile="/key.json")) == GoogleToken(credentials_file="/key.json")
    assert VERTEX.token(vertex()) == GoogleToken()
    assert GEMINI.token is None


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-embedding-001", "claude-sonnet-4-5@20250929"])
@pytest.mark.parametrize("settings", [vertex(), vertex(location="eu"), gemini(), gemini(url="http://proxy")])
def test_prices_are_those_of_google(settings: Any, model: str) -> None:
    """Wherever it is reached, and whoever made the model."""
    provider = VERTEX if settings.provider == "vertex" else GEMINI
    price = PriceBook(settings, price_list=provider.price_list).price(model, at=1_750_000_000.0)
    assert price is not None
