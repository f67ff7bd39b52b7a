"""Gemini by Google AI Studio: https://ai.google.dev/api"""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import quote

from extproc.config.backends import Backend, BaseUrl
from extproc.config.scalars import SecretRef
from extproc.dialects.gemini import GeminiEmbeddings, GeminiTranslator
from extproc.openai.call import Call, Operation
from extproc.providers.base import Environment, Fields, Provider, versioned_path

_VERSION: Final = "v1beta"
"""What thinking, tools and JSON Schemas are part of: https://ai.google.dev/gemini-api/docs/api-versions"""

_RESOURCE: Final = re.compile(r"(?:models|tunedModels)/[A-Za-z0-9][A-Za-z0-9._-]*")
"""A model by its whole name, as lists have it."""


class Settings(Backend):
    """Google AI Studio's API, with a key of one's own."""

    provider: Literal["gemini"]
    url: BaseUrl = "https://generativelanguage.googleapis.com"
    api_key: SecretRef


def path(settings: Settings, call: Call, model: str) -> str:
    """``/v1beta/models/<model>:generateContent`` and its siblings."""
    method = "generateContent"
    if call.operation is Operation.EMBEDDINGS:
        method = "batchEmbedContents"
    elif call.stream:
        method = "streamGenerateContent?alt=sse"
    name = model if _RESOURCE.fullmatch(model) else f"models/{quote(model, safe='')}"
    return f"{versioned_path(settings.url, version=_VERSION)}/{name}:{method}"


def models_path(settings: Settings) -> str:
    """https://ai.google.dev/api/models#method:-models.list"""
    return f"{versioned_path(settings.url, version=_VERSION)}/models?pageSize=200"


def authorize(settings: Settings, credential: str | None) -> Fields:  # noqa: ARG001 - the same for every backend
    """``x-goog-api-key``: https://ai.google.dev/gemini-api/docs/api-key"""
    return (("x-goog-api-key", credential),) if credential else ()


GEMINI = Provider(
    name="gemini",
    settings=Settings,
    offers={"gemini": {Operation.CHAT: GeminiTranslator(), Operation.EMBEDDINGS: GeminiEmbeddings()}},
    path=path,
    authorize=authorize,
    models_path=models_path,
    price_list="google",
    environment=Environment(
        key="GEMINI_API_KEY",
        other_key="GOOGLE_API_KEY",
        base_url="GOOGLE_GEMINI_BASE_URL",
        models=("gemini-*", "gemma-*"),
    ),
)
