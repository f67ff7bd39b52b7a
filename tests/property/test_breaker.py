"""Whatever happens to a backend, its circuit is never stuck: well again, it serves again, and is never hammered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extproc.routing.board import Board, Observation, Result
from extproc.routing.breaker import BreakerSettings
from extproc.routing.health import Circuit

WORKERS = (1, 2, 3)
SETTINGS = st.builds(
    BreakerSettings,
    consecutive_failures=st.integers(1, 5),
    failure_rate=st.floats(0.1, 1.0),
    window=st.floats(1.0, 20.0),
    minimum_requests=st.integers(1, 10),
    open_for=st.floats(0.1, 2.0),
    open_for_at_most=st.floats(2.0, 8.0),
    half_open_requests=st.integers(1, 3),
    successes_to_close=st.integers(1, 3),
)
STEP = st.tuples(
    st.sampled_from(["success", "failure", "neutral", "take", "die", "reload", "nothing"]),
    st.sampled_from(WORKERS),
    st.floats(0.0, 3.0),
    st.none() | st.floats(0.1, 5.0),
)


@given(settings=SETTINGS, steps=st.lists(STEP, max_size=60), chance=st.floats(0, 1, exclude_max=True))
def test_a_backend_that_is_well_again_serves_again(
    settings: BreakerSettings, steps: list[tuple[str, int, float, float | None]], chance: float
) -> None:
    """After any history, requests that go where the board sends them close the circuit within bounded time."""
    board, now = Board({"a": settings}), 0.0
    for kind, worker, pause, retry_after in steps:
        now += pause
        board.tick(WORKERS, now=now)
        if kind == "take" and board.states(worker)["a"].circuit is Circuit.HALF_OPEN:
            board.probing(worker, "a")
        elif kind == "die":
            board.forget(worker)
        elif kind == "reload":
            board.configure({"a": settings})
        elif kind in ("success", "failure", "neutral"):
            observation = Observation(backend="a", result=Result(kind), reason="reset", retry_after=retry_after)
            board.observe(observation, now=now, chance=chance)
        given_out = [worker for worker in WORKERS if board.states(worker)["a"].circuit is Circuit.HALF_OPEN]
        assert len(given_out) <= settings.half_open_requests
    deadline = now + 60.0
    while board.overview()["a"].circuit is not Circuit.CLOSED:
        assert now < deadline
        now += 0.1
        board.tick(WORKERS, now=now)
        for worker in WORKERS:
            if board.states(worker)["a"].circuit is Circuit.HALF_OPEN:
                board.probing(worker, "a")
                board.observe(Observation(backend="a", result=Result.SUCCESS, probe=True), now=now, chance=chance)
