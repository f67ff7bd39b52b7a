"""OpenAI: https://platform.openai.com/docs/api-reference"""

from __future__ import annotations

from typing import Literal

from extproc.config.backends import Backend, BaseUrl
from extproc.config.scalars import SecretRef
from extproc.dialects.openai_compatible import OpenAITranslator
from extproc.openai.call import Operation
from extproc.providers.base import Environment, Provider, bearer, openai_path


class Settings(Backend):
    """OpenAI's API."""

    provider: Literal["openai"]
    url: BaseUrl = "https://api.openai.com/v1"
    api_key: SecretRef


OPENAI = Provider(
    name="openai",
    settings=Settings,
    offers={"openai_compatible": dict.fromkeys(Operation, OpenAITranslator())},
    path=openai_path,
    authorize=bearer,
    price_list="openai",
    environment=Environment(
        key="OPENAI_API_KEY",
        base_url="OPENAI_BASE_URL",
        models=("gpt-*", "chatgpt-*", "o1*", "o3*", "o4*", "text-embedding-*"),
    ),
)
