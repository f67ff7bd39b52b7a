"""xAI: https://docs.x.ai/docs/api-reference"""

from __future__ import annotations

from typing import Literal

from extproc.config.backends import Backend, BaseUrl
from extproc.config.scalars import SecretRef
from extproc.dialects.openai_compatible import OpenAITranslator
from extproc.openai.call import Operation
from extproc.providers.base import Environment, Provider


class Settings(Backend):
    """xAI's API."""

    provider: Literal["xai"]
    url: BaseUrl = "https://api.x.ai/v1"
    api_key: SecretRef


XAI = Provider(
    name="xai",
    settings=Settings,
    offers={"openai_compatible": {Operation.CHAT: OpenAITranslator()}},
    price_list="x-ai",
    environment=Environment(key="XAI_API_KEY", base_url="XAI_BASE_URL", models=("grok-*",)),
)
