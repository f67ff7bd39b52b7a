"""The statistics of experiments, against what can be computed by hand."""

from __future__ import annotations

import random
from collections.abc import Iterable
from statistics import fmean, variance

import pytest

from extproc.ledger.comparison import (
    Distribution,
    Estimate,
    Ratio,
    difference,
    is_within,
    quantile,
    split_probability,
)


def ratio(units: Iterable[tuple[float, int]]) -> Ratio:
    """Of ``(sum, requests)`` for each unit."""
    made = Ratio()
    for total, count in units:
        made.add(total, count)
    return made


def test_one_request_per_unit_is_the_textbook_s_mean() -> None:
    """With the variance of a mean of independent values."""
    values = [1.0, 4.0, 2.0, 8.0, 5.0]
    found = ratio((value, 1) for value in values).mean()
    reach = 1.959964 * (variance(values) / len(values)) ** 0.5
    assert found is not None
    assert found.value == fmean(values)
    assert found.interval == pytest.approx((found.value - reach, found.value + reach))


def test_requests_of_one_unit_do_not_make_the_interval_narrower() -> None:
    """A hundred equal calls of each of four users say no more than one each."""
    once = ratio((value, 1) for value in (1.0, 2.0, 3.0, 4.0)).mean()
    often = ratio((value * 100, 100) for value in (1.0, 2.0, 3.0, 4.0)).mean()
    assert once is not None
    assert often is not None
    assert once.interval == pytest.approx(often.interval)


def test_a_small_spread_around_a_large_mean_is_not_lost() -> None:
    """As it would be in a difference of sums of squares."""
    values = [1e9 + 1, 1e9 + 2, 1e9 + 3]
    assert ratio((value, 1) for value in values).variance == pytest.approx(1 / 3)


@pytest.mark.parametrize("measured", ["mean", "share", "quantile"])
def test_an_interval_covers_the_truth_as_often_as_it_says(measured: str) -> None:
    """Users with their own levels and numbers of calls: 95 % of the intervals, within a few deviations."""
    chance = random.Random(7)
    covered = 0
    for _ in range(300):
        users = [(chance.gauss(100, 10), chance.randint(1, 20)) for _ in range(60)]
        calls = [[chance.gauss(level, 10) for _ in range(count)] for level, count in users]
        values = Distribution()
        for value in (value for user in calls for value in user):
            values.add(value)
        middle = values.quantile(0.5) or 0.0
        found = {
            "mean": ratio((sum(user), len(user)) for user in calls).mean(),
            "share": ratio((sum(value > 100 for value in user), len(user)) for user in calls).share(),
            "quantile": quantile(
                values, 0.5, ratio((sum(is_within(value, middle) for value in user), len(user)) for user in calls)
            ),
        }[measured]
        assert found is not None
        assert found.interval is not None
        truth = 0.5 if measured == "share" else 100
        covered += found.interval[0] <= truth <= found.interval[1]
    assert 0.89 <= covered / 300 <= 0.99


def test_a_share_of_everything_is_not_certain() -> None:
    """Ten answers of ten say little of the eleventh; the bound is Wilson's."""
    found = ratio((1, 1) for _ in range(10)).share()
    assert found is not None
    assert found.value == 1
    assert found.interval == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_too_few_units_have_a_value_without_an_interval() -> None:
    """And none have no value."""
    assert ratio([(0.0, 0)]).mean() is None
    assert ratio([]).share() is None
    assert quantile(Distribution(), 0.5, Ratio()) is None
    lonely = ratio([(6.0, 3)])
    assert lonely.mean() == Estimate(value=2.0, interval=None)
    assert ratio([(1.0, 2)]).share() == Estimate(value=0.5, interval=None)
    assert difference(lonely.mean(), Estimate(value=1.0, interval=(0.0, 2.0))) == Estimate(value=1.0, interval=None)
    assert difference(None, lonely.mean()) is None


def test_quantiles_are_exact_to_one_per_cent() -> None:
    """Whatever the size of the values."""
    values = Distribution()
    for value in range(1, 1_001):
        values.add(float(value))
    assert values.quantile(0.5) == pytest.approx(500, rel=0.01)
    assert values.quantile(0.95) == pytest.approx(950, rel=0.01)
    assert values.quantile(0.0) == pytest.approx(1, rel=0.01)


def test_a_difference_is_as_uncertain_as_both_together() -> None:
    """Pythagoras, for each side of its own."""
    found = difference(Estimate(value=9.0, interval=(6.0, 13.0)), Estimate(value=5.0, interval=(2.0, 9.0)))
    assert found == Estimate(value=4.0, interval=(-1.0, 9.0))


@pytest.mark.parametrize(
    ("control", "treatment", "share", "probability"),
    [
        pytest.param(50, 50, 0.5, 1.0, id="even"),
        pytest.param(5_100, 4_900, 0.5, 0.0455, id="two-deviations"),
        pytest.param(9_500, 500, 0.1, 0.0, id="half-is-missing"),
        pytest.param(10, 0, 0.0, None, id="nobody-is-treated"),
        pytest.param(0, 0, 0.5, None, id="nobody-came"),
    ],
)
def test_the_split_is_judged_by_chi_squared(
    control: int, treatment: int, share: float, probability: float | None
) -> None:
    """As scipy.stats.chisquare gives it."""
    found = split_probability(control, treatment, share)
    assert found == (None if probability is None else pytest.approx(probability, abs=1e-4))
