"""The statistics of experiments, against what can be computed by hand."""

from __future__ import annotations

import random
from statistics import fmean, variance

import pytest

from extproc.ledger.comparison import Mean, difference, mean, split_probability


def test_one_request_per_unit_is_the_textbook_s_mean() -> None:
    """The variance of a mean of independent values."""
    values = [1.0, 4.0, 2.0, 8.0, 5.0]
    found = mean((value, 1) for value in values)
    assert found is not None
    assert found.value == fmean(values)
    assert found.variance == pytest.approx(variance(values) / len(values))


def test_requests_of_one_unit_do_not_make_the_interval_narrower() -> None:
    """A hundred equal calls of each of four users say no more than one each."""
    once = mean((value, 1) for value in (1.0, 2.0, 3.0, 4.0))
    often = mean((value * 100, 100) for value in (1.0, 2.0, 3.0, 4.0))
    assert once == often


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Users with their own levels and numbers of calls: 95 % of the intervals, within three deviations."""
    chance = random.Random(7)
    covered = 0
    for _ in range(400):
        units = []
        for _ in range(60):
            level, count = chance.gauss(10, 3), chance.randint(1, 20)
            units.append((sum(chance.gauss(level, 1) for _ in range(count)), count))
        found = mean(units)
        assert found is not None
        assert found.interval is not None
        covered += found.interval[0] <= 10 <= found.interval[1]
    assert 0.95 - 3 * 0.011 - 0.02 <= covered / 400 <= 0.95 + 3 * 0.011


def test_too_few_units_have_a_mean_without_an_interval() -> None:
    """And none have no mean."""
    assert mean([]) is None
    assert mean([(0.0, 0)]) is None
    lonely = mean([(6.0, 3)])
    assert lonely == Mean(value=2.0, variance=None)
    assert lonely.interval is None
    assert difference(lonely, Mean(value=1.0, variance=0.5)) == Mean(value=1.0, variance=None)
    assert difference(None, lonely) is None


def test_a_difference_adds_the_variances() -> None:
    """Treatment less control."""
    found = difference(Mean(value=3.0, variance=0.5), Mean(value=1.0, variance=0.25))
    assert found == Mean(value=2.0, variance=0.75)


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
    found = split_probability({"control": control, "treatment": treatment}, share)
    assert found == (None if probability is None else pytest.approx(probability, abs=1e-4))
