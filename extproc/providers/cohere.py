"""Cohere: https://docs.cohere.com/reference/about"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from extproc.config.backends import Backend, BaseUrl
from extproc.config.scalars import SecretRef
from extproc.dialects.cohere import CohereEmbeddings, CohereTranslator
from extproc.openai.call import Call, Operation
from extproc.providers.base import Environment, Provider, versioned_path


class Settings(Backend):
    """Cohere's API, or a deployment of one's own."""

    provider: Literal["cohere"]
    url: BaseUrl = "https://api.cohere.com"
    api_key: SecretRef


_PATHS = {Operation.CHAT: "/chat", Operation.EMBEDDINGS: "/embed"}


def path(settings: Settings, call: Call, model: str) -> str:  # noqa: ARG001 - the model stands in the body
    """``<base path>/v2/chat`` and ``/v2/embed``."""
    return versioned_path(settings.url, version="v2") + _PATHS[call.operation]


def models_path(settings: Settings) -> str:
    """``<base path>/v1/models``, which has no second version: https://docs.cohere.com/reference/list-models"""
    return urlsplit(settings.url).path.rstrip("/").removesuffix("/v2") + "/v1/models"


COHERE = Provider(
    name="cohere",
    settings=Settings,
    offers={"cohere": {Operation.CHAT: CohereTranslator(), Operation.EMBEDDINGS: CohereEmbeddings()}},
    path=path,
    models_path=models_path,
    price_list="cohere",
    environment=Environment(
        key="CO_API_KEY",
        other_key="COHERE_API_KEY",
        base_url="CO_API_URL",
        models=("command-*", "c4ai-*", "embed-v4*", "embed-english-*", "embed-multilingual-*"),
    ),
)
