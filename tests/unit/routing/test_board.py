"""The board: one breaker for many workers, probes given to one of them at a time, speeds that decay."""

from __future__ import annotations

from dataclasses import replace

from extproc.routing.board import Board, Observation, Result
from extproc.routing.breaker import BreakerSettings
from extproc.routing.health import Circuit

SETTINGS = BreakerSettings(
    consecutive_failures=4,
    failure_rate=0.9,
    window=10.0,
    minimum_requests=100,
    open_for=1.0,
    open_for_at_most=8.0,
    half_open_requests=1,
    successes_to_close=1,
)
FAILURE = Observation(backend="a", result=Result.FAILURE, reason="overloaded")
SUCCESS = Observation(backend="a", result=Result.SUCCESS)
NEUTRAL = Observation(backend="a", result=Result.NEUTRAL)
PROBE_FAILED = replace(FAILURE, probe=True)


def opened(*, at: float = 0.0, settings: BreakerSettings = SETTINGS) -> Board:
    """A board whose backend ``a`` has just failed too often."""
    board = Board({"a": settings, "b": settings})
    for _ in range(settings.consecutive_failures):
        board.observe(FAILURE, now=at, chance=1.0)
    return board


def probers(board: Board, *workers: int) -> list[int]:
    """Who may probe ``a`` now."""
    return [worker for worker in workers if board.states(worker)["a"].circuit is Circuit.HALF_OPEN]


def test_failures_seen_by_different_workers_add_up() -> None:
    """Two each are four, and all are told."""
    board = Board({"a": SETTINGS})
    news = [board.observe(FAILURE, now=0.0, chance=1.0) for _ in range(4)]
    assert news == [False, False, False, True]
    assert [board.states(worker)["a"].circuit for worker in (1, 2)] == [Circuit.OPEN, Circuit.OPEN]
    assert board.states(1)["a"].reason == "overloaded"
    assert board.opened == {"a": 1}


def test_one_worker_at_a_time_may_probe() -> None:
    """To the others it stays open; one without traffic loses its turn to the next."""
    board = opened()
    assert board.tick((1, 2, 3), now=1.0)
    first = probers(board, 1, 2, 3)
    assert len(first) == 1
    assert not board.tick((1, 2, 3), now=1.2)
    assert board.states(first[0])["a"].probe_until == 1.8
    assert not board.tick((1, 2, 3), now=1.9)
    assert board.tick((1, 2, 3), now=2.1)
    second = probers(board, 1, 2, 3)
    assert len(second) == 1
    assert second != first


def test_no_other_probe_is_given_while_one_is_under_way() -> None:
    """Nor to the worker that sent it; its failure opens the circuit for longer."""
    board = opened()
    board.tick((1, 2), now=1.0)
    worker = probers(board, 1, 2)[0]
    board.probing(worker, "a")
    board.tick((1, 2), now=5.0)
    assert probers(board, 1, 2) == []
    board.observe(PROBE_FAILED, now=5.0, chance=1.0)
    assert not board.tick((1, 2), now=6.9)
    assert board.tick((1, 2), now=7.0)
    assert len(probers(board, 1, 2)) == 1


def test_no_other_probe_is_given_when_another_request_ends() -> None:
    """It had begun before the circuit opened; whether it opens it again, or says nothing."""
    board = opened()
    board.tick((1,), now=1.0)
    board.probing(1, "a")
    board.observe(NEUTRAL, now=1.1, chance=1.0)
    board.tick((1,), now=1.2)
    assert probers(board, 1) == []
    board.observe(FAILURE, now=1.3, chance=1.0)
    assert board.overview()["a"].circuit is Circuit.OPEN
    board.tick((1,), now=4.0)
    assert board.overview()["a"].circuit is Circuit.HALF_OPEN
    assert probers(board, 1) == []
    board.observe(PROBE_FAILED, now=4.1, chance=1.0)
    board.tick((1,), now=9.0)
    assert probers(board, 1) == [1]


def test_a_probe_that_told_nothing_is_given_again() -> None:
    """The client left: the slot must not be lost with it."""
    board = opened()
    board.tick((1,), now=1.0)
    board.probing(1, "a")
    board.observe(replace(NEUTRAL, probe=True), now=1.1, chance=1.0)
    assert board.tick((1,), now=1.2)
    assert probers(board, 1) == [1]


def test_a_probe_that_is_never_heard_of_again_is_given_up() -> None:
    """Its worker may have died with it, or it hangs for an hour."""
    board = opened()
    board.tick((1, 2), now=1.0)
    board.probing(probers(board, 1, 2)[0], "a")
    assert board.tick((1, 2), now=31.1)
    assert len(probers(board, 1, 2)) == 1


def test_a_worker_that_is_gone_takes_its_probe_and_its_requests_with_it() -> None:
    """Others probe, and nothing stays in flight."""
    board = opened()
    board.running(1, {"a": 3})
    board.running(2, {"a": 2})
    board.tick((1,), now=1.0)
    assert board.states(2)["a"].in_flight == 5
    board.forget(1)
    board.tick((2,), now=1.1)
    assert probers(board, 2) == [2]
    assert board.states(2)["a"].in_flight == 2


def test_a_success_closes_it_for_all() -> None:
    """Whoever ran the attempt."""
    board = opened()
    board.tick((1, 2), now=1.0)
    assert board.observe(SUCCESS, now=1.1, chance=1.0)
    assert [board.states(worker)["a"].circuit for worker in (1, 2)] == [Circuit.CLOSED, Circuit.CLOSED]


def test_a_health_check_that_fails_keeps_it_last_until_it_passes() -> None:
    """Without probes: Envoy does the asking."""
    board = Board({"a": SETTINGS})
    assert board.checked("a", "no 200 from /health", now=5.0)
    assert not board.checked("a", "no 200 from /health", now=6.0)
    state = board.states(1)["a"]
    assert (state.circuit, state.reason, state.since) == (Circuit.OPEN, "health check: no 200 from /health", 5.0)
    assert board.checked("a", None, now=7.0)
    assert board.states(1)["a"].available


def test_speeds_are_averages_that_forget() -> None:
    """A fifth of the newest."""
    board = Board({"a": SETTINGS})
    for milliseconds in (100.0, 200.0):
        board.observe(replace(SUCCESS, first_token_ms=milliseconds, tokens_per_second=50.0), now=0.0, chance=1.0)
    board.observe(SUCCESS, now=0.0, chance=1.0)
    assert board.states(1)["a"].first_token_ms == 120.0
    assert board.states(1)["a"].tokens_per_second == 50.0


def test_history_outlives_a_reload_and_a_removed_backend_is_forgotten() -> None:
    """Also when the settings change."""
    board = opened()
    board.configure({"a": replace(SETTINGS, open_for=60.0)})
    assert board.overview()["a"].circuit is Circuit.OPEN
    assert "b" not in board.overview()
    assert not board.observe(replace(FAILURE, backend="b"), now=0.0, chance=1.0)
