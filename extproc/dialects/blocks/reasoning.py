"""``reasoning_effort`` and the sampling knobs, whose constraints hang together: a thinking model wants no temperature.

https://platform.claude.com/docs/en/build-with-claude/extended-thinking#feature-compatibility
https://platform.claude.com/docs/en/build-with-claude/effort
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from extproc.dialects.blocks.models import Model
from extproc.errors import InvalidRequest

Json = dict[str, Any]

BUDGETS: Final = {"minimal": 1_024, "low": 4_096, "medium": 8_192, "high": 24_576, "xhigh": 49_152, "max": 49_152}
"""Tokens of thinking for each effort, where the model takes a budget; 1024 is the least it takes."""

_LEAST_BUDGET: Final = 1_024
_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_WEAKER: Final = {"max": "xhigh", "xhigh": "high", "high": "medium", "medium": "low"}
_HOTTEST: Final = 1.0
_LEAST_TOP_P_WHEN_THINKING: Final = 0.95


@dataclass(slots=True, kw_only=True)
class Reasoning:
    """The provider's fields; ``dropped`` names what could not be had."""

    max_tokens: int
    thinking: Json | None = None
    effort: str | None = None
    sampling: Json = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)

    @property
    def thinks(self) -> bool:
        """Whether thinking was asked for."""
        return self.thinking is not None and self.thinking["type"] != "disabled"


def encode_reasoning(fields: Mapping[str, Any], model: Model, *, forced: bool, unthought: bool) -> Reasoning:
    """``forced``: the model must call a tool, which it cannot while it thinks.

    ``unthought``: the tool loop under way began without thinking, or its thoughts are lost; a model with a budget then
    refuses to think. Raises InvalidRequest.
    """
    reasoning = Reasoning(max_tokens=limit_of(fields) or model.max_tokens)
    effort = fields.get("reasoning_effort")
    if effort is not None and effort != "none" and (not isinstance(effort, str) or effort not in BUDGETS):
        raise InvalidRequest(
            f"Invalid value for 'reasoning_effort': expected none, {', '.join(BUDGETS)}.", param="reasoning_effort"
        )
    if effort == "none":
        _switch_off(reasoning, model)
    elif effort is not None:
        _switch_on(reasoning, fields, model, effort, possible=not forced and not (unthought and not model.adaptive))
    elif forced and model.thinks_unasked and model.thinking_optional:
        reasoning.thinking = {"type": "disabled"}
    _sample(reasoning, fields, model)
    return reasoning


def limit_of(fields: Mapping[str, Any]) -> int | None:
    """The client's limit of tokens, by its new name or its old one. Raises InvalidRequest."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InvalidRequest(f"Invalid value for '{name}': expected a positive integer.", param=name)
        return value
    return None


def _switch_off(reasoning: Reasoning, model: Model) -> None:
    if not model.thinks_unasked and model.thinking_optional:
        return
    if model.thinking_optional:
        reasoning.thinking = {"type": "disabled"}
        return
    reasoning.effort = "low"
    reasoning.dropped.append("reasoning_effort")


def _switch_on(reasoning: Reasoning, fields: Mapping[str, Any], model: Model, effort: str, *, possible: bool) -> None:
    if model.efforts:
        reasoning.effort = _EFFORTS[effort]
        while reasoning.effort not in model.efforts:
            reasoning.effort = _WEAKER[reasoning.effort]
    if not model.thinks or not possible:
        reasoning.dropped.append("reasoning_effort")
        if model.thinks_unasked and model.thinking_optional:
            reasoning.thinking = {"type": "disabled"}
        return
    if model.adaptive:
        # The newest models leave the summary out unless it is asked for.
        reasoning.thinking = {"type": "adaptive", "display": "summarized"}
        return
    budget = BUDGETS[effort]
    if limit_of(fields) is None:
        reasoning.max_tokens = max(reasoning.max_tokens, budget + 8_192)
    elif reasoning.max_tokens <= _LEAST_BUDGET:
        reasoning.dropped.append("reasoning_effort")
        return
    else:
        # Thinking counts towards max_tokens: half of it stays for the answer, where that can be.
        budget = max(_LEAST_BUDGET, min(budget, reasoning.max_tokens // 2))
    reasoning.thinking = {"type": "enabled", "budget_tokens": budget}


def _sample(reasoning: Reasoning, fields: Mapping[str, Any], model: Model) -> None:
    temperature = number_of(fields, "temperature")
    top_p = number_of(fields, "top_p")
    if temperature is not None and temperature > _HOTTEST:
        # OpenAI's scale ends at 2, Anthropic's at 1, as hot as it gets; its own compatible endpoint does the same.
        temperature = _HOTTEST
        reasoning.dropped.append("temperature")
    refused = not model.samples or reasoning.thinks
    if temperature is not None and refused and temperature != _HOTTEST:
        reasoning.dropped.append("temperature")
    if temperature is not None and not refused:
        reasoning.sampling["temperature"] = temperature
    if top_p is None or top_p == 1:
        return
    crowded = "temperature" in reasoning.sampling and not model.samples_both
    if not model.samples or crowded or (reasoning.thinks and top_p < _LEAST_TOP_P_WHEN_THINKING):
        reasoning.dropped.append("top_p")
    else:
        reasoning.sampling["top_p"] = top_p


def number_of(fields: Mapping[str, Any], name: str) -> float | None:
    """A knob's value. Raises InvalidRequest."""
    value = fields.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidRequest(f"Invalid type for '{name}': expected a number.", param=name)
    return value
