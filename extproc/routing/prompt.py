"""How long a prompt is, asked many times: what one answer has shown is not counted again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import inf
from typing import Any, Final

from extproc.metering.counting import counter_for
from extproc.metering.prompt import read_prompt
from extproc.openai.call import Operation

_AHEAD: Final = 2
_TOLERANCE: Final = 4
"""A count that is not exact may be a quarter too high; how far each vocabulary is off stands in extproc/metering."""


class PromptLength:
    """The prompt of one call, as one model's vocabulary counts it."""

    def __init__(self, fields: Mapping[str, Any], operation: Operation, model: str) -> None:
        self._counter = counter_for(model)
        self._prompt = read_prompt(fields, operation, model, self._counter.family)
        self._over: float = -1
        self._up_to: float = inf

    def longer_than(self, limit: int) -> bool:
        """Whether it has more tokens than that; counts little further than needed."""
        if limit <= self._over:
            return True
        # The bounds of a route's rules tend to be near each other: counting to twice the first decides the others.
        return limit < self._up_to and (self._counts_over(limit * _AHEAD) or self._counts_over(limit))

    def _counts_over(self, limit: int) -> bool:
        if limit >= self._up_to:
            return False
        longer = self._counter.all_longer_than(self._prompt.texts, limit - self._prompt.fixed)
        if longer:
            self._over = limit
        else:
            self._up_to = limit
        return longer

    def surely_longer_than(self, limit: int) -> bool:
        """The same where an estimate, which may be too high, must not do harm."""
        exact = self._prompt.plain and self._counter.family.exact
        return self.longer_than(limit if exact else limit + limit // _TOLERANCE)

    @cached_property
    def tokens(self) -> int:
        """Counted to the end."""
        return self._prompt.fixed + self._counter.count_all(self._prompt.texts)[0]
