"""Ollama: https://github.com/ollama/ollama/blob/main/docs/openai.md"""

from __future__ import annotations

from typing import ClassVar, Literal

from extproc.config.backends import Backend, BaseUrl
from extproc.dialects.openai_compatible import OpenAITranslator
from extproc.openai.call import Operation
from extproc.providers.base import Environment, Provider, bearer, openai_path


class Settings(Backend):
    """An Ollama server."""

    health_path: ClassVar[str | None] = "/api/version"
    provider: Literal["ollama"]
    url: BaseUrl = "http://localhost:11434"


OLLAMA = Provider(
    name="ollama",
    settings=Settings,
    offers={"openai_compatible": dict.fromkeys(Operation, OpenAITranslator())},
    path=openai_path,
    authorize=bearer,
    environment=Environment(url="OLLAMA_HOST"),
)
