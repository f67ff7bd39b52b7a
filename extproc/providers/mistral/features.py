"""What becomes of each feature of OpenAI's requests at Mistral, which refuses fields that it does not know (422)."""

from __future__ import annotations

from typing import Final

from extproc.dialects.openai_compatible import Quirks
from extproc.providers.mistral.messages import exact_messages
from extproc.providers.mistral.tools import complete_tools

_PASSED: Final = (
    "temperature",
    "top_p",
    "max_tokens",
    "stop",
    "metadata",
    "n",
    "logprobs",
    "top_logprobs",
    "presence_penalty",
    "frequency_penalty",
    "prediction",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning_effort",
    "response_format",
    "response_format.json_object",
    "response_format.json_schema",
    "tools.function",
    "tools.strict",
    "tool_choice",
    "tool_choice.none",
    "tool_choice.auto",
    "tool_choice.required",
    "tool_choice.function",
    "content.image_url",
    "content.image_data",
    "content.detail",
)
_OWN: Final = (
    "top_k",
    "min_tokens",
    "repetition_penalty",
    "prompt_mode",
    "safe_prompt",
    "guardrails",
    "prompt_logprobs",
    "top_prompt_logprobs",
    "content.document_url",
    "content.reference",
    "content.thinking",
)
"""Mistral's own fields, under their own names."""
_MAPPED: Final = ("tools", "tool_messages", "content.file_data", "content.input_audio", "content.refusal")
_DROPPED: Final = (
    "logit_bias",
    "user",
    "store",
    "safety_identifier",
    "service_tier",
    "prompt_cache_retention",
    "prompt_cache_options",
    "verbosity",
    "messages.name",
    "messages.cache_control",
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
    "tool_choice.allowed_tools",
)

CHAT: Final = Quirks(
    renamed=(("max_completion_tokens", "max_tokens"), ("seed", "random_seed")),
    passed=(*_PASSED, *_OWN),
    mapped=_MAPPED,
    dropped=_DROPPED,
    refused=_REFUSED,
    others=None,
    developer=False,
    rewrites=(exact_messages, complete_tools),
)
EMBEDDINGS: Final = Quirks(renamed=(("dimensions", "output_dimension"),), dropped=("user",))
