"""Ollama: https://docs.ollama.com/api/openai-compatibility"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from extproc.config.backends import Backend, BaseUrl
from extproc.dialects.openai_compatible import OpenAITranslator, Quirks, tools_by_choice
from extproc.openai.call import Operation
from extproc.providers.base import Environment, Provider


class Settings(Backend):
    """An Ollama server."""

    health_path: ClassVar[str | None] = "/api/version"
    provider: Literal["ollama"]
    url: BaseUrl = "http://localhost:11434"


# What it does not know it passes over in silence; an image's address alone it refuses.
_DROPPED = ("logit_bias", "user", "parallel_tool_calls", "store", "metadata", "service_tier")
_REFUSED = ("n", "content.image_url", "tool_choice.required", "tool_choice.function", "tool_choice.allowed_tools")
_OWN = Quirks(
    renamed=(("max_completion_tokens", "max_tokens"),), mapped=("tool_choice.none",), rewrites=(tools_by_choice,)
)
_CHAT = OpenAITranslator(quirks=replace(_OWN, dropped=_DROPPED, refused=_REFUSED))
_OFFERS = {"openai_compatible": dict.fromkeys(Operation, OpenAITranslator()) | {Operation.CHAT: _CHAT}}
OLLAMA = Provider(name="ollama", settings=Settings, offers=_OFFERS, environment=Environment(url="OLLAMA_HOST"))
