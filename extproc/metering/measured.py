"""What an attempt used: as its provider reported it, estimated where it broke off or told nothing, or nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from extproc.metering.counting import counter_for
from extproc.openai.produced import Produced
from extproc.openai.usage import Usage


class UsageSource(StrEnum):
    """How an attempt's usage is known."""

    REPORTED = "reported"
    ESTIMATED = "estimated"
    """The provider was at work, but did not come to tell: the prompt's estimate, and what was produced, counted."""
    NONE = "none"
    """The provider was not reached, or refused: nobody is billed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """``usage`` is None exactly when ``source`` is ``none``."""

    usage: Usage | None
    source: UsageSource


NOTHING: Final = Measured(usage=None, source=UsageSource.NONE)


def reported(usage: Usage) -> Measured:
    """The provider's own word."""
    return Measured(usage=usage, source=UsageSource.REPORTED)


def estimated(produced: Produced, *, input_tokens: int, model: str, partial: Usage | None = None) -> Measured:
    """Of an attempt that broke off, or whose provider tells nothing.

    ``partial`` is what a provider told before it was done: its prompt is known then, its answer at least so long.
    """
    counted = count_produced(produced, model)
    if partial is None:
        return Measured(usage=Usage(input=input_tokens, output=counted), source=UsageSource.ESTIMATED)
    usage = replace(partial, output=max(partial.output, counted))
    return Measured(usage=usage, source=UsageSource.ESTIMATED)


def count_produced(produced: Produced, model: str) -> int:
    """The tokens of what a model said; of a long answer its beginning stands for the rest."""
    text = produced.text
    if not text:
        return 0
    return counter_for(model).count(text) * (len(text) + produced.beyond) // len(text)
