"""Bedrock's settings, and what follows from a model's name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.config.load import ConfigError, load
from extproc.metering.price import PriceBook
from extproc.openai.call import Call, Operation
from extproc.providers.bedrock import BEDROCK, Settings
from extproc.providers.registry import SETTINGS

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"


def settings(**fields: Any) -> Settings:
    """As they stand in kortex.yaml."""
    return Settings.model_validate({"provider": "bedrock", "region": "us-east-1", **fields})


def problems(**fields: Any) -> str:
    """What the operator is told about a backend."""
    config = {
        "backends": {"b": {"provider": "bedrock", **fields}},
        "routes": {"r": {"models": ["m"], "defaultBackend": {"name": "b"}}},
    }
    with pytest.raises(ConfigError) as caught:
        load(json.dumps(config).encode(), SETTINGS)
    return str(caught.value)


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("us-east-1", "https://bedrock-runtime.us-east-1.amazonaws.com"),
        ("us-gov-west-1", "https://bedrock-runtime.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_address_is_that_of_the_region(region: str, url: str) -> None:
    """Unless the operator names another."""
    assert settings(region=region).url == url
    assert settings(region=region, url="http://127.0.0.1:1/").url == "http://127.0.0.1:1"


def test_problems_are_told_in_the_operators_words() -> None:
    """A region that is none; none at all; two ways to be known to AWS."""
    assert 'the key "region" is missing' in problems()
    assert "backends.b.region" in problems(region="Ireland")
    both = problems(region="us-east-1", apiKey={"env": "KEY"}, profile="team")
    assert "leave out profile and credentialsFile" in both


@pytest.mark.parametrize(
    ("api", "model", "operation", "dialect"),
    [
        ("converse", SONNET, Operation.CHAT, "converse"),
        ("converse", "amazon.nova-pro-v1:0", Operation.CHAT, "converse"),
        ("invoke", SONNET, Operation.CHAT, "invoke"),
        ("invoke", PROFILE, Operation.CHAT, "invoke"),
        ("invoke", f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{SONNET}", Operation.CHAT, "invoke"),
        ("invoke", "amazon.nova-pro-v1:0", Operation.CHAT, "converse"),
        ("invoke", "amazon.titan-embed-text-v2:0", Operation.EMBEDDINGS, "titan_embeddings"),
        ("converse", "us.cohere.embed-v4:0", Operation.EMBEDDINGS, "cohere_embeddings"),
    ],
)
def test_dialect_is_the_models(api: str, model: str, operation: Operation, dialect: str) -> None:
    """By the backend's wish where a model speaks two."""
    assert BEDROCK.translator(operation, settings(api=api), model) is BEDROCK.offers[dialect][operation]


@pytest.mark.parametrize(
    ("model", "operation"),
    [
        (SONNET, Operation.EMBEDDINGS),
        (SONNET, Operation.TEXT_COMPLETION),
        ("amazon.titan-embed-text-v2:0", Operation.CHAT),
    ],
)
def test_operation_is_not_there_when_the_model_lacks_it(model: str, operation: Operation) -> None:
    """Which makes the backend ineligible."""
    assert BEDROCK.translator(operation, settings(), model) is None


@pytest.mark.parametrize(
    ("api", "model", "stream", "path"),
    [
        ("converse", "amazon.nova-pro-v1:0", False, "/model/amazon.nova-pro-v1%3A0/converse"),
        ("converse", "amazon.nova-pro-v1:0", True, "/model/amazon.nova-pro-v1%3A0/converse-stream"),
        ("invoke", SONNET, False, f"/model/{SONNET[:-2]}%3A0/invoke"),
        ("invoke", SONNET, True, f"/model/{SONNET[:-2]}%3A0/invoke-with-response-stream"),
        ("converse", "a/../b?c#d%", False, "/model/a%2F..%2Fb%3Fc%23d%25/converse"),
    ],
)
def test_path_holds_the_model_escaped(api: str, model: str, stream: bool, path: str) -> None:
    """Below the base URL's own."""
    call = Call(operation=Operation.CHAT, model="asked", body=b"{}", stream=stream)
    assert BEDROCK.path(settings(api=api), call, model) == path
    assert BEDROCK.path(settings(api=api, url="https://proxy.example/aws/"), call, model) == f"/aws{path}"


@pytest.mark.parametrize("model", [SONNET, "amazon.nova-pro-v1:0", "us.amazon.nova-lite-v1:0"])
def test_models_have_a_price(model: str) -> None:
    """By AWS's names for them, in the list of prices."""
    assert PriceBook(settings(), price_list=BEDROCK.price_list).price(model, at=1_790_000_000.0) is not None
