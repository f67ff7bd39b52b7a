"""The circuit breaker: what opens it, how long, and what closes it again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from extproc.routing.breaker import Breaker, BreakerSettings
from extproc.routing.health import Circuit

SETTINGS = BreakerSettings(
    consecutive_failures=3,
    failure_rate=0.5,
    window=10.0,
    minimum_requests=10,
    open_for=1.0,
    open_for_at_most=8.0,
    half_open_requests=1,
    successes_to_close=2,
)


def failing(breaker: Breaker, count: int, *, now: float = 100.0, chance: float = 1.0) -> None:
    """So many failures at once. A chance of 1 is no jitter."""
    for _ in range(count):
        breaker.failed(now, reason="server_error", chance=chance)


def test_it_opens_after_failures_in_a_row() -> None:
    """One fewer does not, and a success in between starts the count again."""
    breaker = Breaker(SETTINGS)
    failing(breaker, 2)
    breaker.succeeded(100.0)
    failing(breaker, 2)
    before = breaker.circuit
    failing(breaker, 1)
    assert before is Circuit.CLOSED
    assert (breaker.circuit, breaker.reason, breaker.since) == (Circuit.OPEN, "server_error", 100.0)


def test_it_opens_by_the_rate_of_failures_when_they_are_not_in_a_row() -> None:
    """Half of ten, but not before there are ten."""
    breaker = Breaker(SETTINGS)
    for number in range(4):
        breaker.failed(100.0 + number, reason="timeout", chance=1.0)
        breaker.succeeded(100.0 + number)
    breaker.succeeded(104.0)
    before = breaker.circuit
    breaker.failed(105.0, reason="timeout", chance=1.0)
    assert (before, breaker.circuit) == (Circuit.CLOSED, Circuit.OPEN)


def test_failures_before_the_window_are_forgotten() -> None:
    """Four failures of long ago and one of now are one failure."""
    breaker = Breaker(replace(SETTINGS, consecutive_failures=100))
    failing(breaker, 9, now=100.0)
    breaker.failed(111.0, reason="timeout", chance=1.0)
    assert breaker.circuit is Circuit.CLOSED


def test_it_stays_open_twice_as_long_each_time_up_to_a_bound() -> None:
    """1, 2, 4, 8, 8 seconds; each probe fails."""
    breaker = Breaker(SETTINGS)
    failing(breaker, 3, now=0.0)
    now, waits = 0.0, []
    for _ in range(5):
        waits.append(breaker.until - now)
        now = breaker.until
        breaker.tick(now)
        assert breaker.circuit is Circuit.HALF_OPEN
        failing(breaker, 1, now=now)
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0]


def test_jitter_only_shortens() -> None:
    """By a fifth at the most."""
    breaker = Breaker(SETTINGS)
    failing(breaker, 3, now=0.0, chance=0.0)
    assert breaker.until == pytest.approx(0.8)


def test_it_closes_after_successful_probes_and_the_waits_start_anew() -> None:
    """Two successes here; a failure between them opens it again."""
    breaker = Breaker(SETTINGS)
    failing(breaker, 3, now=0.0)
    breaker.succeeded(1.0)
    failing(breaker, 1, now=1.0)
    assert (breaker.circuit, breaker.until) == (Circuit.OPEN, 3.0)
    breaker.succeeded(3.0)
    assert breaker.circuit is Circuit.HALF_OPEN
    breaker.succeeded(3.0)
    assert (breaker.circuit, breaker.reason) == (Circuit.CLOSED, None)
    failing(breaker, 3, now=4.0)
    assert breaker.until == 5.0


def test_an_answer_from_before_it_opened_tells_nothing() -> None:
    """It was asked when the provider still worked."""
    breaker = Breaker(SETTINGS)
    failing(breaker, 3, now=0.0)
    breaker.succeeded(0.5)
    assert breaker.circuit is Circuit.OPEN


@pytest.mark.parametrize(
    ("retry_after", "until"),
    [pytest.param(7.0, 107.0, id="as-asked"), pytest.param(86_400.0, 700.0, id="bounded")],
)
def test_a_retry_after_opens_it_at_once_for_that_long(retry_after: float, until: float) -> None:
    """The provider said so itself; ten minutes at the most."""
    breaker = Breaker(SETTINGS)
    breaker.failed(100.0, reason="rate_limited", chance=1.0, retry_after=retry_after)
    assert (breaker.circuit, breaker.until) == (Circuit.OPEN, until)
    breaker.failed(101.0, reason="rate_limited", chance=1.0, retry_after=1.0)
    assert breaker.until == until


def test_one_that_is_switched_off_never_opens_and_closes_when_it_was_open() -> None:
    """A reload may switch it off in the middle of an outage."""
    breaker = Breaker(SETTINGS)
    failing(breaker, 3)
    breaker.settings = replace(SETTINGS, enabled=False)
    breaker.tick(100.1)
    assert breaker.circuit is Circuit.CLOSED
    failing(breaker, 100)
    assert breaker.circuit is Circuit.CLOSED
