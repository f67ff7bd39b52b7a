"""What becomes of each feature of OpenAI's chat request at Gemini's generateContent; data, rendered into the docs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from extproc.dialects.gemini.models import model_facts
from extproc.openai.features import Support

_MAPPED: Final = (
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "seed",
    "n",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "top_logprobs",
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
    "content.input_audio",
    "content.file_data",
    "content.refusal",
)
_PASSED: Final = ("gemini",)
_DROPPED: Final = (
    "user",
    "safety_identifier",
    "metadata",
    "service_tier",
    "logit_bias",
    "store",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "verbosity",
    "messages.name",
    "messages.cache_control",
    "content.detail",
)
_REFUSED: Final = (
    "audio",
    "modalities",
    "functions",
    "function_call",
    "web_search_options",
    "moderation",
    "content.file_id",
    "tools.custom",
    "tool_choice.custom",
)

_SUPPORT: Final[Mapping[str, Support]] = MappingProxyType(
    dict.fromkeys(_MAPPED, Support.MAPPED)
    | dict.fromkeys(_PASSED, Support.PASSED)
    | dict.fromkeys(_DROPPED, Support.DROPPED)
    | dict.fromkeys(_REFUSED, Support.REFUSED)
)
# Labels of a request are a thing of Google Cloud's bills.
_CLOUD_SUPPORT: Final[Mapping[str, Support]] = MappingProxyType(
    {**_SUPPORT, "metadata": Support.MAPPED, "user": Support.MAPPED, "vertex": Support.PASSED}
)


def table(*, cloud: bool) -> Mapping[str, Support]:
    """The table of the API as AI Studio has it, or as Google Cloud."""
    return _CLOUD_SUPPORT if cloud else _SUPPORT


@lru_cache(maxsize=256)
def support_of(model: str, *, cloud: bool) -> Mapping[str, Support]:
    """The same for one model: AI Studio fetches no addresses for those before Gemini 2.5.

    https://ai.google.dev/gemini-api/docs/file-input-methods
    """
    if cloud or model_facts(model).fetches:
        return table(cloud=cloud)
    return MappingProxyType({**_SUPPORT, "content.image_url": Support.REFUSED})
