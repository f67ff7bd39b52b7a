"""What a call used, in one normal form; unknown is None, never 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens. ``input`` includes ``cached_input`` and ``cache_write``, ``output`` ``reasoning``; audio is in both.

    ``cache_write_1h`` is the part of ``cache_write`` that stays for an hour; the rest stays for five minutes.
    """

    input: int
    output: int
    cached_input: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None


def read_usage(value: object) -> Usage | None:
    """OpenAI's ``usage`` object → Usage; None when it is not one.

    Chat and completions: https://platform.openai.com/docs/api-reference/chat/object#chat-object-usage
    Embeddings have no ``completion_tokens``: their output is 0. Some servers leave reasoning out of it, as their total
    shows (https://docs.x.ai/docs/guides/reasoning), or count cache hits at the top level, by one of two names
    (https://api-docs.deepseek.com/guides/kv_cache, https://docs.together.ai/reference/chat-completions-1).
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
    output = _count(value, "completion_tokens") or 0
    reasoning = _count(completion_details, "reasoning_tokens")
    if reasoning and _count(value, "total_tokens") == prompt + output + reasoning:
        output += reasoning
    cached = next((hits for hits in _cache_hits(value, prompt_details) if hits is not None), None)
    return Usage(
        input=prompt,
        output=output,
        cached_input=cached,
        reasoning=reasoning,
        audio_input=_count(prompt_details, "audio_tokens"),
        audio_output=_count(completion_details, "audio_tokens"),
        cache_write=_count(prompt_details, "cache_write_tokens"),
        cache_write_1h=_count(prompt_details, "cache_write_1h_tokens"),
    )


def _cache_hits(value: Mapping[str, Any], details: Mapping[str, Any]) -> Iterator[int | None]:
    yield _count(details, "cached_tokens")
    yield _count(value, "prompt_cache_hit_tokens")
    yield _count(value, "cached_tokens")


def usage_counts(usage: Usage) -> dict[str, int]:
    """The kinds of tokens that are known, by the names that headers, metrics and logs have for them."""
    counts = {
        "input": usage.input,
        "output": usage.output,
        "cached_input": usage.cached_input,
        "cache_write": usage.cache_write,
        "cache_write_1h": usage.cache_write_1h,
        "reasoning": usage.reasoning,
        "audio_input": usage.audio_input,
        "audio_output": usage.audio_output,
    }
    return {name: count for name, count in counts.items() if count is not None}


def usage_fields(usage: Usage) -> dict[str, Any]:
    """OpenAI's ``usage`` object, with ``cache_write_tokens``, which OpenAI lacks, where other gateways put it."""
    prompt = {
        "cached_tokens": usage.cached_input,
        "cache_write_tokens": usage.cache_write,
        "cache_write_1h_tokens": usage.cache_write_1h,
        "audio_tokens": usage.audio_input,
    }
    completion = {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.audio_output}
    fields: dict[str, Any] = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    }
    for name, details in (("prompt_tokens_details", prompt), ("completion_tokens_details", completion)):
        known = {key: count for key, count in details.items() if count is not None}
        if known:
            fields[name] = known
    return fields


def _count(value: Mapping[str, object], name: str) -> int | None:
    number = value.get(name)
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None
