"""May this backend serve this call at all? Asked before any order; what is not known never excludes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from extproc.config.matches import Use
from extproc.metering.catalogue import ModelFacts
from extproc.openai.call import Operation
from extproc.openai.features import Support, support_for
from extproc.routing.facts import Facts
from extproc.routing.target import Target


class Cause(StrEnum):
    """Why a backend is left out."""

    DRAINED = "drained"
    OPERATION = "operation"
    FEATURE = "feature"
    WINDOW = "window"
    UNPRICED = "unpriced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """``reason`` continues a sentence that begins with the backend's name; ``param`` is the field at fault."""

    cause: Cause
    reason: str
    param: str | None = None


_REFUSED: Final = frozenset({Support.REFUSED})
_REFUSED_IF_STRICT: Final = frozenset({Support.REFUSED, Support.DROPPED})
_CAPABILITIES: Final[Mapping[Use, str]] = {
    "tools": "tools",
    "images": "vision",
    "files": "files",
    "audio": "audio",
    "json_schema": "json_schema",
    "reasoning": "reasoning",
}
_LIMIT: Final = "max_tokens"
DRAINED: Final = Exclusion(cause=Cause.DRAINED, reason="is drained: its weight is 0")


def exclusion(target: Target, facts: Facts, *, strict: bool) -> Exclusion | None:
    """Why the target cannot serve the call; None when it can. ``strict``: no parameter may be dropped either."""
    operation = facts.call.operation
    translator = target.translator(operation, facts.upstream_model)
    if translator is None:
        return Exclusion(cause=Cause.OPERATION, reason=f"has no {operation.value}", param="model")
    model = target.model(facts.upstream_model)
    known = target.facts(model)
    if operation is Operation.CHAT:
        table = translator.support_of(model)
        refused = _REFUSED_IF_STRICT if strict else _REFUSED
        lacks = [feature for feature in facts.features if support_for(feature, table) in refused] if table else []
        if known.lacking and not lacks:
            lacks = [use for use in sorted(facts.uses) if _CAPABILITIES[use] in known.lacking]
        if lacks:
            return Exclusion(cause=Cause.FEATURE, reason=f"lacks {', '.join(lacks)}", param=lacks[0])
    if target.unpriced == "reject" and target.price(model, at=facts.arrived) is None:
        return Exclusion(cause=Cause.UNPRICED, reason="has no known price for it", param="model")
    return _too_small(known, facts, model)


def _too_small(known: ModelFacts, facts: Facts, model: str) -> Exclusion | None:
    answer = facts.max_tokens or 0
    if known.max_output is not None and answer > known.max_output:
        return Exclusion(cause=Cause.WINDOW, reason=f"answers with at most {known.max_output} tokens", param=_LIMIT)
    window = known.context_window
    if window is None or not facts.prompt(model).surely_longer_than(window - answer):
        return None
    needed = "the prompt" if not answer else f"the prompt and an answer of {answer} tokens"
    return Exclusion(cause=Cause.WINDOW, reason=f"holds {window} tokens, fewer than {needed}", param="messages")
