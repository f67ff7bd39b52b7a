"""``reasoning_effort``, the limit and the sampling knobs, as each kind of model behind Converse takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from extproc.dialects.blocks.models import Model as Claude
from extproc.dialects.blocks.reasoning import BUDGETS, encode_reasoning, limit_of, number_of
from extproc.dialects.converse.models import Model, Thinking
from extproc.errors import InvalidRequest

Json = dict[str, Any]

_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_OPENAIS_NAMES: Final = {"temperature": "temperature", "topP": "top_p"}
_HOTTEST: Final = 1.0


@dataclass(slots=True, kw_only=True)
class Inference:
    """``config`` is ``inferenceConfig``, ``native`` goes into the model's own fields, ``effort`` into outputConfig."""

    config: Json = field(default_factory=dict)
    native: Json = field(default_factory=dict)
    effort: str | None = None
    dropped: list[str] = field(default_factory=list)


def encode_inference(fields: Mapping[str, Any], model: Model, *, forced: bool, unthought: bool) -> Inference:
    """``forced`` and ``unthought``: see ``blocks.reasoning.encode_reasoning``. Raises InvalidRequest."""
    if model.claude is not None:
        return _of_claude(fields, model.claude, forced=forced, unthought=unthought)
    inference = Inference()
    limit = limit_of(fields)
    if limit is not None:
        inference.config["maxTokens"] = limit
    temperature, top_p = number_of(fields, "temperature"), number_of(fields, "top_p")
    if temperature is not None and temperature > _HOTTEST:
        # OpenAI's scale ends at 2, Converse's at 1.
        temperature = _HOTTEST
        inference.dropped.append("temperature")
    for name, value in (("temperature", temperature), ("topP", top_p)):
        if value is not None:
            inference.config[name] = value
    effort = fields.get("reasoning_effort")
    if effort is None:
        return inference
    if not isinstance(effort, str) or (effort != "none" and effort not in _EFFORTS):
        raise InvalidRequest(
            f"Invalid value for 'reasoning_effort': expected none, {', '.join(BUDGETS)}.", param="reasoning_effort"
        )
    _THINK[model.thinking](inference, effort)
    return inference


def _of_claude(fields: Mapping[str, Any], facts: Claude, *, forced: bool, unthought: bool) -> Inference:
    reasoning = encode_reasoning(fields, facts, forced=forced, unthought=unthought)
    inference = Inference(effort=reasoning.effort, dropped=reasoning.dropped)
    if reasoning.thinks or limit_of(fields) is not None:
        # Without one, Converse allows as many as the model can.
        inference.config["maxTokens"] = reasoning.max_tokens
    for name, given in (("temperature", "temperature"), ("topP", "top_p")):
        if given in reasoning.sampling:
            inference.config[name] = reasoning.sampling[given]
    if reasoning.thinking is not None:
        inference.native["thinking"] = reasoning.thinking
    return inference


def _not(inference: Inference, effort: str) -> None:
    if effort != "none":
        inference.dropped.append("reasoning_effort")


def _nova(inference: Inference, effort: str) -> None:
    """Reasoning as hard as it can, Nova takes neither a limit nor sampling knobs."""
    if effort == "none":
        return
    effort = _EFFORTS[effort]
    if effort == "high" and "maxTokens" in inference.config:
        effort = "medium"
        inference.dropped.append("reasoning_effort")
    if effort == "high":
        inference.dropped += [_OPENAIS_NAMES[name] for name in inference.config]
        inference.config.clear()
    inference.native["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": effort}


def _effort(inference: Inference, effort: str) -> None:
    if effort == "none":
        # These models always reason.
        inference.dropped.append("reasoning_effort")
    inference.native["reasoning_effort"] = _EFFORTS.get(effort, "low")


_THINK: Final = {Thinking.NOT: _not, Thinking.CLAUDE: _not, Thinking.NOVA: _nova, Thinking.EFFORT: _effort}
