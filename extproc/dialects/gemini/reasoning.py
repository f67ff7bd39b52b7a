"""``reasoning_effort`` → ``thinkingConfig``: a level for Gemini 3, a budget for 2.5.

https://ai.google.dev/gemini-api/docs/thinking and https://ai.google.dev/gemini-api/docs/openai#thinking
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.dialects.gemini.models import Model
from extproc.errors import InvalidRequest

Json = dict[str, Any]

BUDGETS: Final = {"minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576, "xhigh": 32_768, "max": 32_768}
"""Tokens of thinking for each effort: the provider's own table, but for the last two, which it does not know."""

_LEVELS: Final = {"minimal": 0, "low": 1, "medium": 2, "high": 3, "xhigh": 3, "max": 3}
_LEVEL_NAMES: Final = ("MINIMAL", "LOW", "MEDIUM", "HIGH")


def encode_reasoning(fields: Mapping[str, Any], model: Model, limit: int | None, dropped: set[str]) -> Json | None:
    """``limit`` is the most tokens of the answer, thoughts included. Raises InvalidRequest."""
    effort = fields.get("reasoning_effort")
    if effort is None:
        return None
    if effort != "none" and (not isinstance(effort, str) or effort not in BUDGETS):
        raise InvalidRequest(
            f"Invalid value for 'reasoning_effort': expected none, {', '.join(BUDGETS)}.", param="reasoning_effort"
        )
    if effort == "none":
        return _least(model, dropped)
    if not model.thinks:
        dropped.add("reasoning_effort")
        return None
    if model.levels:
        return {"includeThoughts": True, "thinkingLevel": _level(_LEVELS[effort], model)}
    budget = BUDGETS[effort]
    if limit is not None:
        # Half of the limit stays for the answer, where that can be.
        budget = min(budget, limit // 2)
    return {"includeThoughts": True, "thinkingBudget": max(model.least_budget, min(budget, model.most_budget))}


def _least(model: Model, dropped: set[str]) -> Json | None:
    if not model.thinks:
        return None
    if model.optional:
        return {"thinkingBudget": 0}
    # It cannot be switched off: https://ai.google.dev/gemini-api/docs/openai#thinking
    dropped.add("reasoning_effort")
    return {"thinkingLevel": model.levels[0]} if model.levels else {"thinkingBudget": model.least_budget}


def _level(wanted: int, model: Model) -> str:
    """The level that is wanted, else the next stronger one."""
    return next(name for name in _LEVEL_NAMES[wanted:] if name in model.levels)
