"""A number for a JSON Schema of type ``integer`` or ``number``.

https://json-schema.org/draft/2020-12/json-schema-validation#name-validation-keywords-for-num
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any, Final

_LARGEST_INTEGER: Final = 2**63 - 1
_LARGEST: Final = 10**300


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    """What is allowed: from ``low`` to ``high``, without the ends where they are ``open``, in multiples of ``step``."""

    low: Fraction | None
    low_open: bool
    high: Fraction | None
    high_open: bool
    step: Fraction | None

    def allow(self, number: Fraction) -> bool:
        if self.low is not None and (number < self.low or (self.low_open and number == self.low)):
            return False
        if self.high is not None and (number > self.high or (self.high_open and number == self.high)):
            return False
        if abs(number) > _LARGEST:
            return False
        return self.step is None or (number / self.step).denominator == 1


def write_number(schema: Mapping[str, Any], *, whole: bool, offered: str | None, ordinal: int) -> int | float | None:
    """The ``offered`` number where it is allowed, else the smallest positive one that is; None when there is none.

    ``ordinal`` counts the numbers of one array, so that they differ.
    """
    bounds = _read_bounds(schema, whole=whole)
    candidates = _candidates(bounds, ordinal)
    if offered is not None:
        candidates = iter((Fraction(offered), *candidates))
    number = next((candidate for candidate in candidates if bounds.allow(candidate)), None)
    if number is None:
        return None
    return int(number) if number.denominator == 1 and abs(number) <= _LARGEST_INTEGER else float(number)


def _read_bounds(schema: Mapping[str, Any], *, whole: bool) -> _Bounds:
    """Draft 4 wrote an open end as ``exclusiveMinimum: true`` beside ``minimum``; later drafts give it a number."""
    low, high = _number(schema.get("minimum")), _number(schema.get("maximum"))
    above, below = _number(schema.get("exclusiveMinimum")), _number(schema.get("exclusiveMaximum"))
    low_open = schema.get("exclusiveMinimum") is True or (above is not None and (low is None or above >= low))
    high_open = schema.get("exclusiveMaximum") is True or (below is not None and (high is None or below <= high))
    step = _number(schema.get("multipleOf"))
    if step is not None and step <= 0:
        step = None
    if whole:
        step = Fraction(1) if step is None else Fraction(step.numerator)
    return _Bounds(
        low=above if low_open and above is not None else low,
        low_open=low_open,
        high=below if high_open and below is not None else high,
        high_open=high_open,
        step=step,
    )


def _candidates(bounds: _Bounds, ordinal: int) -> Iterator[Fraction]:
    step = bounds.step or Fraction(1)
    yield step * (1 + ordinal)
    if bounds.low is not None:
        first = ceil(bounds.low / step)
        yield step * (first + ordinal)
        yield step * (first + ordinal + 1)
    if bounds.high is not None:
        last = floor(bounds.high / step)
        yield step * (last - ordinal)
        yield step * (last - ordinal - 1)
    if bounds.step is None and bounds.low is not None and bounds.high is not None:
        yield bounds.low + (bounds.high - bounds.low) / (2 + ordinal)
        yield bounds.low
    yield Fraction(0)


def _number(value: object) -> Fraction | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # By way of its decimal digits: 0.1 is a tenth to whoever wrote the schema.
    return Fraction(str(value))
