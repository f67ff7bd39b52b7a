"""Mistral: https://docs.mistral.ai/api"""

from __future__ import annotations

from typing import Literal

from extproc.config.backends import Backend, BaseUrl
from extproc.config.scalars import SecretRef
from extproc.dialects.openai_compatible import OpenAITranslator
from extproc.openai.call import Operation
from extproc.providers.base import Environment, Provider
from extproc.providers.mistral.features import CHAT, EMBEDDINGS


class Settings(Backend):
    """Mistral's API."""

    provider: Literal["mistral"]
    url: BaseUrl = "https://api.mistral.ai/v1"
    api_key: SecretRef


_MODELS = ("mistral-*", "ministral-*", "magistral-*", "codestral-*", "devstral-*", "pixtral-*", "open-mi*tral-*")

MISTRAL = Provider(
    name="mistral",
    settings=Settings,
    offers={
        "openai_compatible": {
            # Its last chunk always carries usage, and `stream_options` is a field that it refuses.
            Operation.CHAT: OpenAITranslator(asks_usage=False, quirks=CHAT),
            Operation.EMBEDDINGS: OpenAITranslator(asks_usage=False, quirks=EMBEDDINGS),
        }
    },
    price_list="mistral",
    environment=Environment(key="MISTRAL_API_KEY", base_url="MISTRAL_BASE_URL", models=_MODELS),
)
