"""What becomes of each feature of OpenAI's chat request at Converse; data, rendered into the docs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from extproc.dialects.converse.models import model_facts
from extproc.openai.features import Support

_MAPPED: Final = (
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "metadata",
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
    "messages.cache_control",
    "content.image_data",
    "content.image_s3",
    "content.file_data",
    "content.refusal",
)
_PASSED: Final = ("bedrock",)
_DROPPED: Final = (
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "seed",
    "store",
    "user",
    "safety_identifier",
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
    "content.image_url",
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
def support_of(model: str) -> Mapping[str, Support]:
    """The same for one model: few can be made to call a tool, or take marks for a cache."""
    facts = model_facts(model)
    own = dict(SUPPORT)
    if not facts.forces_any_tool:
        own["tool_choice.required"] = Support.REFUSED
    if not facts.forces_one_tool:
        own["tool_choice.function"] = Support.REFUSED
    if not facts.caches:
        own["messages.cache_control"] = Support.DROPPED
    return MappingProxyType(own)
