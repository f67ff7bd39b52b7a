"""Two variants of an experiment compared: means per request with intervals that know that a user's calls are alike.

A unit's requests are not independent, so that the variance is taken between units (the delta method for ratios,
https://arxiv.org/abs/1803.06336), and whether the units were split as configured is tested before anything is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import erfc, sqrt
from typing import Final

_NORMAL_95: Final = 1.959964
_FEWEST_UNITS: Final = 2
SUSPICIOUS: Final = 0.001
"""A split that chance gives less often than this is not chance: https://doi.org/10.1145/3292500.3330722"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """Per request. ``variance`` is the mean's own; None where there are too few units to tell."""

    value: float
    variance: float | None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 %."""
        if self.variance is None:
            return None
        reach = _NORMAL_95 * sqrt(self.variance)
        return self.value - reach, self.value + reach


def mean(units: Iterable[tuple[float, int]]) -> Mean | None:
    """Of ``(sum, requests)`` for each unit. None where there was no request."""
    sums = [(total, count) for total, count in units if count]
    requests = sum(count for _, count in sums)
    if not requests:
        return None
    ratio = sum(total for total, _ in sums) / requests
    if len(sums) < _FEWEST_UNITS:
        return Mean(value=ratio, variance=None)
    spread = sum((total - ratio * count) ** 2 for total, count in sums)
    return Mean(value=ratio, variance=spread * len(sums) / (len(sums) - 1) / requests**2)


def difference(treatment: Mean | None, control: Mean | None) -> Mean | None:
    """Treatment less control."""
    if treatment is None or control is None:
        return None
    known = treatment.variance is not None and control.variance is not None
    return Mean(
        value=treatment.value - control.value,
        variance=(treatment.variance or 0.0) + (control.variance or 0.0) if known else None,
    )


def split_probability(counts: Mapping[str, int], treated_share: float) -> float | None:
    """How often chance alone splits the units at least as unevenly (chi-squared, one degree of freedom).

    None where nothing can be said: no units, or everybody is meant to be in one variant.
    """
    total = counts["control"] + counts["treatment"]
    expected = total * treated_share
    if not total or expected in (0, total):
        return None
    deviation = (counts["treatment"] - expected) ** 2
    return erfc(sqrt((deviation / expected + deviation / (total - expected)) / 2))
