"""``usageMetadata`` → Usage: https://ai.google.dev/api/generate-content#UsageMetadata"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.openai.usage import Usage

_MOST: Final = 1 << 53
"""A count that JSON's readers do not agree on is none."""


def read_usage_metadata(value: Any) -> Usage | None:
    """Thoughts are beside the candidates' tokens here, and in OpenAI's count; a count that is zero is left out here."""
    if not isinstance(value, Mapping):
        return None
    prompt = _count(value, "promptTokenCount")
    if prompt is None:
        return None
    thoughts = _count(value, "thoughtsTokenCount")
    return Usage(
        # What server-side tools found is read by the model like the prompt, and billed like it.
        input=prompt + (_count(value, "toolUsePromptTokenCount") or 0),
        output=(_count(value, "candidatesTokenCount") or 0) + (thoughts or 0),
        cached_input=_count(value, "cachedContentTokenCount"),
        reasoning=thoughts,
        audio_input=_audio(value.get("promptTokensDetails")),
        audio_output=_audio(value.get("candidatesTokensDetails")),
    )


def _audio(details: Any) -> int | None:
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and detail.get("modality") == "AUDIO":
            return _count(detail, "tokenCount")
    return None


def _count(value: Mapping[str, Any], name: str) -> int | None:
    number = value.get(name)
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < _MOST else None
