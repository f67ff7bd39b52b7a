"""Anthropic: https://platform.claude.com/docs/en/api/overview"""

from __future__ import annotations

from typing import Literal

from extproc.config.backends import Backend, BaseUrl
from extproc.config.scalars import SecretRef
from extproc.dialects.anthropic import AnthropicTranslator
from extproc.openai.call import Call, Operation
from extproc.providers.base import Environment, Fields, Provider, versioned_path


class Settings(Backend):
    """Anthropic's API, or a server that speaks it."""

    provider: Literal["anthropic"]
    url: BaseUrl = "https://api.anthropic.com"
    api_key: SecretRef
    version: str = "2023-06-01"
    """The ``anthropic-version`` header. From ``2026-10-21`` on, no model takes temperature, top_p or top_k."""
    beta: tuple[str, ...] = ()
    """Names for the ``anthropic-beta`` header, beside those of a request's own ``anthropic.betas``."""


def path(settings: Settings, call: Call, model: str) -> str:  # noqa: ARG001 - the model stands in the body
    """``<base path>/v1/messages``."""
    return f"{versioned_path(settings.url)}/messages"


def models_path(settings: Settings) -> str:
    """``<base path>/v1/models``: https://platform.claude.com/docs/en/api/models/list"""
    return f"{versioned_path(settings.url)}/models"


def authorize(settings: Settings, credential: str | None) -> Fields:
    """``x-api-key``, the version and the betas: https://platform.claude.com/docs/en/api/versioning"""
    fields: Fields = (("anthropic-version", settings.version),)
    if credential:
        fields = (("x-api-key", credential), *fields)
    return (*fields, ("anthropic-beta", ",".join(settings.beta))) if settings.beta else fields


ANTHROPIC = Provider(
    name="anthropic",
    settings=Settings,
    offers={"anthropic": {Operation.CHAT: AnthropicTranslator()}},
    path=path,
    authorize=authorize,
    models_path=models_path,
    price_list="anthropic",
    environment=Environment(key="ANTHROPIC_API_KEY", base_url="ANTHROPIC_BASE_URL", models=("claude-*",)),
)
