"""Mistral: https://docs.mistral.ai/api"""

from __future__ import annotations

from typing import Literal

from extproc.config.backends import Backend, BaseUrl
from extproc.config.scalars import SecretRef
from extproc.dialects.openai_compatible import OpenAITranslator
from extproc.openai.call import Operation
from extproc.providers.base import Environment, Provider, bearer, openai_path


class Settings(Backend):
    """Mistral's API."""

    provider: Literal["mistral"]
    url: BaseUrl = "https://api.mistral.ai/v1"
    api_key: SecretRef


# Its last chunk always carries usage, and `stream_options` is an unknown field that it refuses with a 422.
_TRANSLATOR = OpenAITranslator(asks_usage=False)

MISTRAL = Provider(
    name="mistral",
    settings=Settings,
    offers={
        "openai_compatible": {
            Operation.CHAT: _TRANSLATOR,
            Operation.EMBEDDINGS: _TRANSLATOR,
        }
    },
    path=openai_path,
    authorize=bearer,
    price_list="mistral",
    environment=Environment(
        key="MISTRAL_API_KEY",
        base_url="MISTRAL_BASE_URL",
        models=(
            "mistral-*",
            "ministral-*",
            "magistral-*",
            "codestral-*",
            "devstral-*",
            "pixtral-*",
            "open-mistral-*",
            "open-mixtral-*",
        ),
    ),
)
