"""The conditions a rule may set. Each can also say what it wanted and what it found, for ``explain``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from extproc.config.matches import Percentage
from extproc.routing.chance import share
from extproc.routing.facts import Facts

_ABSENT: Final = "absent"
_EMPTY: Final = "empty"
_LONGEST_SHOWN: Final = 80


class Condition(Protocol):
    """One thing that must be true of a call."""

    @property
    def wanted(self) -> str:
        """In words, for people."""

    def holds(self, facts: Facts) -> bool:
        """Whether it is true. Raises ExpressionFailed."""

    def found(self, facts: Facts) -> str:
        """What the call has in its place, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """A text of the call is one of those listed, or fits one of the globs."""

    name: str
    get: Callable[[Facts], str | None]
    texts: frozenset[str]
    globs: tuple[re.Pattern[str], ...] = ()
    wanted: str

    def holds(self, facts: Facts) -> bool:
        """See Condition."""
        text = self.get(facts)
        if text is None:
            return False
        return text in self.texts or any(pattern.fullmatch(text) for pattern in self.globs)

    def found(self, facts: Facts) -> str:
        """See Condition."""
        return _shown(self.get(facts))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderIs:
    """A header's value passes a test; None stands for a header that is absent."""

    name: str
    test: Callable[[str | None], bool]
    wanted: str

    def holds(self, facts: Facts) -> bool:
        """See Condition."""
        return self.test(facts.headers.get(self.name))

    def found(self, facts: Facts) -> str:
        """See Condition."""
        return _shown(facts.headers.get(self.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class All:
    """The call has everything that is listed, and perhaps more."""

    name: str
    get: Callable[[Facts], frozenset[str]]
    needed: frozenset[str]
    wanted: str

    def holds(self, facts: Facts) -> bool:
        """See Condition."""
        return self.needed <= self.get(facts)

    def found(self, facts: Facts) -> str:
        """See Condition."""
        return ", ".join(sorted(self.get(facts))) or "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The answer is to be streamed, or is not."""

    stream: bool

    @property
    def wanted(self) -> str:
        """See Condition."""
        return f"stream is {str(self.stream).lower()}"

    def holds(self, facts: Facts) -> bool:
        """See Condition."""
        return facts.call.stream is self.stream

    def found(self, facts: Facts) -> str:
        """See Condition."""
        return str(facts.call.stream).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTokens:
    """Tokens of the prompt: more than ``over``, and not more than ``up_to``."""

    over: int | None
    up_to: int | None
    wanted: str

    def holds(self, facts: Facts) -> bool:
        """See Condition."""
        if self.over is not None and not facts.prompt().longer_than(self.over):
            return False
        return self.up_to is None or not facts.prompt().longer_than(self.up_to)

    def found(self, facts: Facts) -> str:
        """See Condition."""
        return str(facts.prompt().tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLimit:
    """The client's limit for the answer: more than ``over``, and not more than ``up_to``."""

    over: int | None
    up_to: int | None
    wanted: str

    def holds(self, facts: Facts) -> bool:
        """See Condition."""
        limit = facts.max_tokens
        if limit is None:
            return False
        return (self.over is None or limit > self.over) and (self.up_to is None or limit <= self.up_to)

    def found(self, facts: Facts) -> str:
        """See Condition."""
        return _shown(None if facts.max_tokens is None else str(facts.max_tokens))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """The call's unit is among a share of them. ``salt`` makes the shares of different rules independent."""

    percentage: Percentage
    salt: str
    wanted: str

    def holds(self, facts: Facts) -> bool:
        """See Condition."""
        return self._place(facts) < self.percentage.value

    def found(self, facts: Facts) -> str:
        """See Condition."""
        unit = None if self.percentage.by is None else facts.unit(self.percentage.by)
        whose = "of this call" if unit is None else f"of {_shown(unit)}"
        return f"{self._place(facts):.2f} is the place {whose} among 100"

    def _place(self, facts: Facts) -> float:
        by = self.percentage.by
        unit = None if by is None else facts.unit(by)
        return share(self.salt, facts.id if unit is None else unit) * 100


def _shown(text: str | None) -> str:
    if not text:
        return _ABSENT if text is None else _EMPTY
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
