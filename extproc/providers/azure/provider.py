"""Azure OpenAI: https://learn.microsoft.com/azure/ai-foundry/openai/reference"""

from __future__ import annotations

from functools import cache
from typing import Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, model_validator

from extproc.config.backends import Backend
from extproc.dialects.openai_compatible import OpenAITranslator
from extproc.openai.call import Call, Operation
from extproc.providers.azure.entra import EntraId
from extproc.providers.base import OPENAI_PATHS, Environment, Fields, Provider, bearer
from extproc.providers.token_request import EntraToken


class Settings(Backend):
    """A resource of Azure OpenAI; ``model`` is the name of a deployment."""

    provider: Literal["azure"]
    api_version: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]+$", examples=["2024-10-21"])
    """Asks ``/openai/deployments/<model>`` by this version, 2024-09-01 at least. Default: the newer ``/openai/v1``."""
    entra: EntraId | None = None
    """Which identity asks, where there is no ``apiKey``. Default: the host's own, by azure-identity's usual chain."""

    @model_validator(mode="after")
    def _one_credential(self) -> Settings:
        if self.api_key is not None and self.entra is not None:
            msg = "apiKey and entra exclude each other"
            raise ValueError(msg)
        return self


def path(settings: Settings, call: Call, model: str) -> str:
    """``/openai/v1/chat/completions``, or with a version ``/openai/deployments/<model>/chat/completions``."""
    base = _base_path(settings.url)
    if settings.api_version is None:
        return f"{base}/v1{OPENAI_PATHS[call.operation]}"
    deployment = quote(model, safe="")
    return f"{base}/deployments/{deployment}{OPENAI_PATHS[call.operation]}?api-version={settings.api_version}"


@cache
def _base_path(url: str) -> str:
    """People copy addresses with and without ``/openai`` and ``/v1``."""
    return urlsplit(url).path.rstrip("/").removesuffix("/v1").removesuffix("/openai") + "/openai"


def authorize(settings: Settings, credential: str | None) -> Fields:
    """``api-key``, or a token as bearer: https://learn.microsoft.com/azure/ai-foundry/openai/reference#authentication"""
    if settings.api_key is not None and credential:
        return (("api-key", credential),)
    return bearer(settings, credential)


def token(settings: Settings) -> EntraToken | None:
    """What is asked of Entra ID; None where there is a key."""
    if settings.api_key is not None:
        return None
    entra = settings.entra or EntraId()
    return EntraToken(
        scope=entra.scope,
        tenant_id=entra.tenant_id,
        client_id=entra.client_id,
        client_secret=entra.client_secret,
    )


AZURE = Provider(
    name="azure",
    settings=Settings,
    offers={"openai_compatible": dict.fromkeys(Operation, OpenAITranslator())},
    path=path,
    authorize=authorize,
    token=token,
    price_list="azure",
    environment=Environment(
        key="AZURE_OPENAI_API_KEY",
        url="AZURE_OPENAI_ENDPOINT",
        settings=(("apiVersion", "OPENAI_API_VERSION"),),
        # It lists the models that could be deployed, not the deployments.
        lists=False,
    ),
)
