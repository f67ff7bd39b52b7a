"""The statistics of experiments: means, shares and quantiles with 95 % intervals, their differences, and fair splits.

The requests of one unit are not independent, so that spread is taken between units, never between requests: the delta
method for ratios, https://arxiv.org/abs/1803.06336. Nothing here remembers a unit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil, erfc, exp, inf, log, sqrt
from typing import Final

SUSPICIOUS: Final = 0.001
"""A split that chance gives less often than this is not chance: https://doi.org/10.1145/3292500.3330722"""

_NORMAL_95: Final = 1.959964
_FEWEST_UNITS: Final = 2
_WIDTH: Final = log(1.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """``interval`` has the truth in it in 95 of 100 experiments; None where there are too few units to tell."""

    value: float
    interval: tuple[float, float] | None


class Ratio:
    """A mean per request, of sums and counts of requests that are added unit by unit."""

    __slots__ = (
        "_counts",
        "_counts_mean",
        "_counts_spread",
        "_product",
        "_sums",
        "_sums_mean",
        "_sums_spread",
        "units",
    )

    def __init__(self) -> None:
        self.units = 0
        self._sums = self._sums_mean = self._sums_spread = 0.0
        self._counts = 0
        self._counts_mean = self._counts_spread = self._product = 0.0

    def add(self, total: float, count: int) -> None:
        """A unit. The spreads are updated as Welford does, https://doi.org/10.1080/00401706.1962.10490022."""
        if not count:
            return
        self.units += 1
        self._sums += total
        self._counts += count
        off_sum, off_count = total - self._sums_mean, count - self._counts_mean
        self._sums_mean += off_sum / self.units
        self._counts_mean += off_count / self.units
        self._sums_spread += off_sum * (total - self._sums_mean)
        self._counts_spread += off_count * (count - self._counts_mean)
        self._product += off_sum * (count - self._counts_mean)

    def mean(self) -> Estimate | None:
        """None where there was no request."""
        if not self._counts:
            return None
        value = self._value
        if self.units < _FEWEST_UNITS:
            return Estimate(value=value, interval=None)
        reach = _NORMAL_95 * sqrt(self.variance)
        return Estimate(value=value, interval=(value - reach, value + reach))

    def share(self) -> Estimate | None:
        """The mean of what each request either is or is not."""
        if not self._counts:
            return None
        value = self._value
        if self.units < _FEWEST_UNITS:
            return Estimate(value=value, interval=None)
        return Estimate(value=value, interval=self.around(value))

    def around(self, share: float) -> tuple[float, float]:
        """Wilson's interval, with as many requests as would spread like these units if they were independent."""
        size: float = self.units
        if 0 < share < 1:
            variance = self.variance
            size = min(self._counts, share * (1 - share) / variance if variance else inf)
        scale = 1 + _NORMAL_95**2 / size
        middle = (share + _NORMAL_95**2 / (2 * size)) / scale
        reach = _NORMAL_95 / scale * sqrt(share * (1 - share) / size + _NORMAL_95**2 / (4 * size**2))
        return max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach))

    @property
    def requests(self) -> int:
        """Of all units."""
        return self._counts

    @property
    def variance(self) -> float:
        """Of the mean; there must be two units."""
        value = self._value
        spread = self._sums_spread - 2 * value * self._product + value**2 * self._counts_spread
        return max(0.0, spread) * self.units / (self.units - 1) / self._counts**2

    @property
    def _value(self) -> float:
        return self._sums / self._counts


class Distribution:
    """How often which values came, to one per cent of each: https://arxiv.org/abs/1908.10693. Values are positive."""

    __slots__ = ("_bins", "_count")

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()
        self._count = 0

    def add(self, value: float) -> None:
        """One more."""
        self._bins[_bin(value)] += 1
        self._count += 1

    def quantile(self, share: float) -> float | None:
        """The value that such a share does not exceed; None where there is none."""
        reached, wanted = 0, max(1, ceil(share * self._count))
        for number in sorted(self._bins):
            reached += self._bins[number]
            if reached >= wanted:
                return exp((number - 0.5) * _WIDTH)
        return None


def quantile(values: Distribution, share: float, below: Ratio) -> Estimate | None:
    """``below`` has how many of each unit's values are not above the quantile (Woodruff, 1952)."""
    value = values.quantile(share)
    if value is None:
        return None
    if below.units < _FEWEST_UNITS:
        return Estimate(value=value, interval=None)
    low, high = below.around(share)
    return Estimate(value=value, interval=(values.quantile(low) or value, values.quantile(high) or value))


def is_within(value: float, bound: float) -> bool:
    """Whether a value is not above a quantile, as exactly as quantiles are known."""
    return _bin(value) <= _bin(bound)


def _bin(value: float) -> int:
    return ceil(log(max(value, 1e-3)) / _WIDTH)


def difference(treatment: Estimate | None, control: Estimate | None) -> Estimate | None:
    """Treatment less control, by the distances of both from their bounds: https://doi.org/10.1002/sim.3891."""
    if treatment is None or control is None:
        return None
    value = treatment.value - control.value
    if treatment.interval is None or control.interval is None:
        return Estimate(value=value, interval=None)
    down, up = (abs(treatment.value - bound) for bound in treatment.interval)
    control_down, control_up = (abs(control.value - bound) for bound in control.interval)
    return Estimate(
        value=value, interval=(value - sqrt(down**2 + control_up**2), value + sqrt(up**2 + control_down**2))
    )


def split_probability(control: int, treatment: int, treated_share: float) -> float | None:
    """How often chance alone splits the units at least as unevenly (chi-squared, one degree of freedom).

    None where nothing can be said: no units, or everybody is meant to be in one variant.
    """
    total = control + treatment
    expected = total * treated_share
    if not total or expected in (0, total):
        return None
    deviation = (treatment - expected) ** 2
    return erfc(sqrt((deviation / expected + deviation / (total - expected)) / 2))
