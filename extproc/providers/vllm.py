"""vLLM: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html"""

from __future__ import annotations

from typing import ClassVar, Literal

from extproc.config.backends import Backend
from extproc.dialects.openai_compatible import OpenAITranslator
from extproc.openai.call import Operation
from extproc.providers.base import Environment, Provider, bearer, openai_path


class Settings(Backend):
    """A vLLM server."""

    health_path: ClassVar[str | None] = "/health"
    provider: Literal["vllm"]


VLLM = Provider(
    name="vllm",
    settings=Settings,
    offers={"openai_compatible": dict.fromkeys(Operation, OpenAITranslator())},
    path=openai_path,
    authorize=bearer,
    environment=Environment(url="VLLM_URL"),
)
