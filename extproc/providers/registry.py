"""Every provider, by its name in kortex.yaml. Adding one is a line here (CONTRIBUTING.md has the four steps)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from extproc.config.backends import Backend
from extproc.providers.custom import CUSTOM
from extproc.providers.demo import DEMO
from extproc.providers.kserve import KSERVE
from extproc.providers.mistral import MISTRAL
from extproc.providers.ollama import OLLAMA
from extproc.providers.openai import OPENAI
from extproc.providers.vllm import VLLM

PROVIDERS: Final = MappingProxyType(
    {
        provider.name: provider
        for provider in (
            OPENAI,
            MISTRAL,
            OLLAMA,
            VLLM,
            KSERVE,
            CUSTOM,
            DEMO,
        )
    }
)

SETTINGS: Final[MappingProxyType[str, type[Backend]]] = MappingProxyType(
    {name: provider.settings for name, provider in PROVIDERS.items()}
)
