"""A request made cheaper: a shorter answer at most, and less reasoning, in OpenAI's own fields."""

from __future__ import annotations

from typing import Any, Final

import orjson

from extproc.openai.call import Operation

_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_LEAST: Final = "low"
"""What every model that reasons takes: https://platform.openai.com/docs/guides/reasoning"""
_NO_MORE: Final = {"none", "minimal", _LEAST}


def stretch(body: bytes, operation: Operation, *, max_output: int | None, less_reasoning: bool) -> bytes:
    """``body`` is valid. Its other fields stay as they are and where they are."""
    fields: dict[str, Any] = orjson.loads(body)
    if max_output is not None and operation is not Operation.EMBEDDINGS:
        _shorten(fields, operation, max_output)
    if less_reasoning and fields.get("reasoning_effort") not in {None, *_NO_MORE}:
        fields["reasoning_effort"] = _LEAST
    return orjson.dumps(fields)


def _shorten(fields: dict[str, Any], operation: Operation, longest: int) -> None:
    given = [name for name in _LIMITS if isinstance(fields.get(name), int)]
    for name in given:
        # Some servers take -1 for no limit at all, and some 0: https://docs.ollama.com/modelfile
        fields[name] = max(1, min(fields[name], longest)) if fields[name] >= 0 else longest
    if not given:
        fields[_LIMITS[operation is not Operation.CHAT]] = longest
