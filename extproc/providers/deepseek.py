"""DeepSeek: https://api-docs.deepseek.com/api/create-chat-completion"""

from __future__ import annotations

from typing import Literal

from extproc.config.backends import Backend, BaseUrl
from extproc.config.scalars import SecretRef
from extproc.dialects.openai_compatible import OpenAITranslator, Quirks
from extproc.openai.call import Operation
from extproc.providers.base import Environment, Provider


class Settings(Backend):
    """DeepSeek's API."""

    provider: Literal["deepseek"]
    url: BaseUrl = "https://api.deepseek.com/v1"
    api_key: SecretRef


_UNKNOWN = ("seed", "logit_bias", "user", "parallel_tool_calls", "store", "metadata", "service_tier", "verbosity")
_REFUSED = ("n", "response_format.json_schema", "content.image_url", "content.image_data", "content.input_audio")
_QUIRKS = Quirks(
    renamed=(("max_completion_tokens", "max_tokens"),), dropped=_UNKNOWN, refused=_REFUSED, developer=False
)
_OFFERS = {"openai_compatible": {Operation.CHAT: OpenAITranslator(quirks=_QUIRKS)}}
_ENVIRONMENT = Environment(key="DEEPSEEK_API_KEY", base_url="DEEPSEEK_BASE_URL", models=("deepseek-*",))
DEEPSEEK = Provider(name="deepseek", settings=Settings, offers=_OFFERS, environment=_ENVIRONMENT)
