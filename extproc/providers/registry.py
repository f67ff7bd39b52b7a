"""Every provider, by its name in kortex.yaml. Adding one is a line here (CONTRIBUTING.md has the four steps)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from extproc.config.backends import Backend
from extproc.providers.anthropic import ANTHROPIC
from extproc.providers.base import Provider
from extproc.providers.bedrock import BEDROCK
from extproc.providers.custom import CUSTOM
from extproc.providers.demo import DEMO
from extproc.providers.gemini import GEMINI
from extproc.providers.kserve import KSERVE
from extproc.providers.mistral import MISTRAL
from extproc.providers.ollama import OLLAMA
from extproc.providers.openai import OPENAI
from extproc.providers.vertex import VERTEX
from extproc.providers.vllm import VLLM

_ALL: Final[tuple[Provider[Any], ...]] = (
    OPENAI,
    ANTHROPIC,
    BEDROCK,
    GEMINI,
    VERTEX,
    MISTRAL,
    OLLAMA,
    VLLM,
    KSERVE,
    CUSTOM,
    DEMO,
)

PROVIDERS: Final[MappingProxyType[str, Provider[Any]]] = MappingProxyType(
    {provider.name: provider for provider in _ALL}
)

SETTINGS: Final[MappingProxyType[str, type[Backend]]] = MappingProxyType(
    {name: provider.settings for name, provider in PROVIDERS.items()}
)
