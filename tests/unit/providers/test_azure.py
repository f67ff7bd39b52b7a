"""Azure's addresses, credentials and errors."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from extproc.config.scalars import SecretRef
from extproc.dialects.base import UpstreamReply
from extproc.dialects.openai_compatible import OpenAITranslator
from extproc.exchange.verdict import Reason, judge
from extproc.headers import Headers
from extproc.openai.call import Call, Operation
from extproc.providers.azure import AZURE
from extproc.providers.token_request import EntraToken
from tests.fakes.azure_provider import FILTERED

CHAT = Call(operation=Operation.CHAT, model="m", body=b"{}")
SCOPE = "https://cognitiveservices.azure.com/.default"


def settings(**fields: Any) -> Any:
    """A backend's entry."""
    return AZURE.settings.model_validate({"provider": "azure", "url": "https://r.openai.azure.com", **fields})


@pytest.mark.parametrize(
    ("url", "version", "path"),
    [
        pytest.param("https://r.azure.com", None, "/openai/v1/chat/completions", id="new"),
        pytest.param("https://r.azure.com/openai", None, "/openai/v1/chat/completions", id="new-with-openai"),
        pytest.param("https://r.azure.com/openai/v1", None, "/openai/v1/chat/completions", id="new-with-version"),
        pytest.param("https://gate.example/llm", None, "/llm/openai/v1/chat/completions", id="behind-a-gateway"),
        pytest.param(
            "https://r.azure.com/openai/v1",
            "2024-10-21",
            "/openai/deployments/my%20gpt%2F4o/chat/completions?api-version=2024-10-21",
            id="deployment",
        ),
    ],
)
def test_path_is_of_the_api_that_is_wanted(url: str, version: str | None, path: str) -> None:
    """A deployment's name is escaped, so that it cannot lead elsewhere."""
    assert AZURE.path(settings(url=url, apiVersion=version), CHAT, "my gpt/4o") == path


def test_key_goes_in_its_own_header_and_a_token_as_bearer() -> None:
    """Never both."""
    keyed = settings(apiKey={"env": "KEY"})
    assert AZURE.authorize(keyed, "secret") == (("api-key", "secret"),)
    assert AZURE.authorize(settings(), "token") == (("authorization", "Bearer token"),)


def test_token_is_asked_for_where_there_is_no_key() -> None:
    """The host's identity, or a service principal's."""
    assert AZURE.token is not None
    assert AZURE.token(settings(apiKey={"env": "KEY"})) is None
    assert AZURE.token(settings()) == EntraToken(scope=SCOPE)
    principal = {"tenantId": "t", "clientId": "c", "clientSecret": {"env": "S"}}
    expected = EntraToken(scope=SCOPE, tenant_id="t", client_id="c", client_secret=SecretRef(env="S"))
    assert AZURE.token(settings(entra=principal)) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"apiKey": {"env": "K"}, "entra": {}}, "exclude each other", id="two-credentials"),
        pytest.param({"entra": {"tenantId": "t"}}, "a service principal has", id="tenant-alone"),
        pytest.param(
            {"entra": {"tenantId": "t", "clientSecret": {"env": "S"}}}, "a clientId too", id="principal-without-id"
        ),
        pytest.param({"apiVersion": "2024&x=1"}, "pattern", id="version-that-is-more"),
    ],
)
def test_entry_is_refused_when_it_contradicts_itself(fields: dict[str, Any], message: str) -> None:
    """When the config is read, not when a client calls."""
    with pytest.raises(ValidationError, match=message):
        settings(**fields)


@pytest.mark.parametrize(
    ("status", "body", "reason", "code"),
    [
        pytest.param(400, FILTERED, Reason.CONTENT_FILTER, "content_filter", id="content-filter"),
        pytest.param(
            404,
            {"error": {"code": "DeploymentNotFound", "message": "x"}},
            Reason.NOT_FOUND,
            "DeploymentNotFound",
            id="404",
        ),
        pytest.param(
            401, {"statusCode": 401, "message": "Unauthorized."}, Reason.UNAUTHORIZED, "invalid_api_key", id="401"
        ),
        pytest.param(
            429, {"error": {"code": "429", "message": "x"}}, Reason.RATE_LIMITED, "rate_limit_exceeded", id="429"
        ),
    ],
)
def test_error_means_what_it_says(status: int, body: dict[str, Any], reason: Reason, code: str) -> None:
    """A filtered prompt does not fail over; a wrong deployment is the operator's to mend."""
    reply = UpstreamReply(status=status, headers=Headers([("retry-after-ms", "1500")]), body=orjson.dumps(body))
    error = OpenAITranslator().decode_error(reply)
    assert (judge(error).reason, error.code) == (reason, code)
    assert judge(error).failover is (reason is not Reason.CONTENT_FILTER)
    assert error.retry_after == "2"
