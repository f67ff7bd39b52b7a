"""What becomes of each feature of OpenAI's chat request at Anthropic's Messages API; data, rendered into the docs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from extproc.dialects.blocks.models import model_facts
from extproc.openai.features import Support

_MAPPED: Final = (
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "user",
    "safety_identifier",
    "service_tier",
    "reasoning_effort",
    "parallel_tool_calls",
    "response_format",
    "response_format.json_object",
    "response_format.json_schema",
    "tools",
    "tools.function",
    "tools.strict",
    "tool_choice",
    "tool_choice.none",
    "tool_choice.auto",
    "tool_choice.required",
    "tool_choice.function",
    "tool_choice.allowed_tools",
    "tool_messages",
    "content.image_url",
    "content.image_data",
    "content.file_data",
    "content.refusal",
)
_PASSED: Final = ("messages.cache_control", "anthropic")
_DROPPED: Final = (
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "seed",
    "metadata",
    "store",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "verbosity",
    "messages.name",
    "content.detail",
)
_REFUSED: Final = (
    "n",
    "logprobs",
    "top_logprobs",
    "audio",
    "modalities",
    "functions",
    "function_call",
    "web_search_options",
    "moderation",
    "content.input_audio",
    "content.file_id",
    "tools.custom",
    "tool_choice.custom",
)

SUPPORT: Final[Mapping[str, Support]] = MappingProxyType(
    dict.fromkeys(_MAPPED, Support.MAPPED)
    | dict.fromkeys(_PASSED, Support.PASSED)
    | dict.fromkeys(_DROPPED, Support.DROPPED)
    | dict.fromkeys(_REFUSED, Support.REFUSED)
)


@lru_cache(maxsize=256)
def support_of(model: str, *, fetches: bool = True) -> Mapping[str, Support]:
    """The same for one model: the newest ones of always-on thinking cannot be forced to call a tool.

    https://platform.claude.com/docs/en/models/opus-5-5/whats-new-opus-5-5

    ``fetches``: whether it is served where images may be addresses.
    """
    lacking = () if model_facts(model).forces_tools else ("tool_choice.required", "tool_choice.function")
    lacking = lacking if fetches else (*lacking, "content.image_url")
    return MappingProxyType({**SUPPORT, **dict.fromkeys(lacking, Support.REFUSED)}) if lacking else SUPPORT
