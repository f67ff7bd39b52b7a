"""What a call used, in one normal form; unknown is None, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens. ``input`` includes ``cached_input``; ``output`` includes ``reasoning``; audio is part of both."""

    input: int
    output: int
    cached_input: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None


def read_usage(value: object) -> Usage | None:
    """OpenAI's ``usage`` object → Usage; None when it is not one.

    Chat and completions: https://platform.openai.com/docs/api-reference/chat/object#chat-object-usage
    Embeddings have no ``completion_tokens``: their output is 0.
    """
    if not isinstance(value, Mapping):
        return None
    prompt = _count(value, "prompt_tokens")
    if prompt is None:
        return None
    given = value.get("prompt_tokens_details")
    prompt_details = given if isinstance(given, Mapping) else {}
    given = value.get("completion_tokens_details")
    completion_details = given if isinstance(given, Mapping) else {}
    return Usage(
        input=prompt,
        output=_count(value, "completion_tokens") or 0,
        cached_input=_count(prompt_details, "cached_tokens"),
        reasoning=_count(completion_details, "reasoning_tokens"),
        audio_input=_count(prompt_details, "audio_tokens"),
        audio_output=_count(completion_details, "audio_tokens"),
    )


def _count(value: Mapping[str, object], name: str) -> int | None:
    number = value.get(name)
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None
