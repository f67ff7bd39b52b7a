"""Together AI: https://docs.together.ai/docs/openai-api-compatibility and https://docs.together.ai/docs/logprobs"""

from __future__ import annotations

from typing import Literal

from extproc.config.backends import Backend, BaseUrl
from extproc.config.scalars import SecretRef
from extproc.dialects.openai_compatible import OpenAITranslator, Quirks
from extproc.openai.call import Operation
from extproc.providers.base import Environment, Provider


class Settings(Backend):
    """Together's API."""

    provider: Literal["together"]
    url: BaseUrl = "https://api.together.xyz/v1"
    api_key: SecretRef


_QUIRKS = Quirks(renamed=(("max_completion_tokens", "max_tokens"),), refused=("logprobs", "top_logprobs"))
_CHAT = {Operation.CHAT: OpenAITranslator(quirks=_QUIRKS)}
TOGETHER = Provider(
    name="together",
    settings=Settings,
    offers={"openai_compatible": dict.fromkeys(Operation, OpenAITranslator()) | _CHAT},
    price_list="together",
    environment=Environment(key="TOGETHER_API_KEY", base_url="TOGETHER_BASE_URL"),
)
