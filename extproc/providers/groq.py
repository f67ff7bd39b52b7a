"""Groq: https://console.groq.com/docs/openai"""

from __future__ import annotations

from typing import Literal

from extproc.config.backends import Backend, BaseUrl
from extproc.config.scalars import SecretRef
from extproc.dialects.openai_compatible import OpenAITranslator, Quirks
from extproc.openai.call import Operation
from extproc.providers.base import Environment, Provider


class Settings(Backend):
    """Groq's API."""

    provider: Literal["groq"]
    url: BaseUrl = "https://api.groq.com/openai/v1"
    api_key: SecretRef


# https://console.groq.com/docs/openai#currently-unsupported-openai-features
_QUIRKS = Quirks(dropped=("logit_bias", "messages.name"), refused=("n", "logprobs", "top_logprobs"), developer=False)
GROQ = Provider(
    name="groq",
    settings=Settings,
    offers={"openai_compatible": {Operation.CHAT: OpenAITranslator(quirks=_QUIRKS, usage_in="x_groq")}},
    price_list="groq",
    environment=Environment(key="GROQ_API_KEY", base_url="GROQ_BASE_URL"),
)
