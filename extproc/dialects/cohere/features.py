"""What becomes of each feature of OpenAI's chat request at Cohere's API; data, rendered into the docs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from extproc.openai.features import Support

EXTRA: Final = "cohere"
"""The client's key for Cohere's own fields: ``{"cohere": {"documents": […], "safety_mode": "NONE", "k": 5}}``."""

_MAPPED: Final = (
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "reasoning_effort",
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
    "content.detail",
    "content.refusal",
)
_PASSED: Final = ("seed", EXTRA)
_DROPPED: Final = (
    "logit_bias",
    "user",
    "safety_identifier",
    "service_tier",
    "metadata",
    "store",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "verbosity",
    "parallel_tool_calls",
    "messages.name",
    "messages.cache_control",
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
    "content.file_data",
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
