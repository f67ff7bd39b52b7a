"""Rounds in which all paths take turns, and what each of them showed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench import wire
from tests.bench.cpu import cpu_seconds
from tests.bench.load import load
from tests.bench.paths import PASS_THROUGH, Path
from tests.bench.scaling import Held, held_workers
from tests.bench.streams import streams

ONE: Final = 1
MANY: Final = 16
MOST_WORKERS: Final = 2
"""With their CPUs to themselves; more of them are measured held only (``scaling``)."""
_MILLI: Final = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure."""

    rounds: int
    seconds: float
    """Of load, per path, round and number of connections."""
    streams: int
    """One after the other on the one connection; where there are many, each has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Whole replies in one round. Times are milliseconds."""

    rate: float
    p50: float
    p99: float
    envoy_cpu: float | None
    worker_cpu: float | None

    @property
    def cpu(self) -> float:
        """Of Envoy and the workers together."""
        return (self.envoy_cpu or 0.0) + (self.worker_cpu or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """Streamed replies in one round: to the first token, and from the provider to the client. Milliseconds."""

    first: float
    chunk_p50: float
    chunk_p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One path's rounds, by the number of connections."""

    path: Path
    whole: dict[int, list[Whole]]
    streamed: dict[int, list[Streamed]]
    held: list[Held]


async def measure(paths: Sequence[Path], plan: Plan, tell: Callable[[str], None]) -> list[Shown]:
    """Raises WrongReply as soon as any path gives one."""
    shown = [Shown(path=path, whole={ONE: [], MANY: []}, streamed={ONE: [], MANY: []}, held=[]) for path in paths]
    for number in range(1, plan.rounds + 1):
        tell(f"round {number} of {plan.rounds}")
        # Backwards every other time, so that no path always follows the same one.
        turn = shown if number % 2 else shown[::-1]
        for each in turn:
            if each.path.name == PASS_THROUGH:
                each.held.append(await held_workers(each.path, seconds=2 * plan.seconds))
        turn = [each for each in turn if each.path.workers <= MOST_WORKERS]
        for connections in (ONE, MANY):
            for each in turn:
                each.whole[connections].append(await whole_replies(each.path, connections, plan.seconds))
            for each in turn:
                each.streamed[connections].append(
                    await _streamed(each.path, connections, plan.streams if connections == ONE else 1)
                )
    return shown


async def whole_replies(path: Path, connections: int, seconds: float) -> Whole:
    """One path's whole replies under load. Raises WrongReply."""
    request = wire.request(path.authority, path.model, stream=False)
    expected = wire.answer_body(path.model)
    envoy = () if path.envoy_pid is None else (path.envoy_pid,)
    before = cpu_seconds(envoy), cpu_seconds(path.worker_pids)
    done = await load(path.origin, request, expected, connections=connections, seconds=seconds)
    calls = len(done.latencies)
    spent = [
        None if then is None or now is None or not pids else (now - then) / (calls + connections) * _MILLI
        for then, now, pids in zip(
            before, (cpu_seconds(envoy), cpu_seconds(path.worker_pids)), (envoy, path.worker_pids), strict=True
        )
    ]
    return Whole(
        rate=calls / done.seconds,
        p50=_percentile(done.latencies, 50),
        p99=_percentile(done.latencies, 99),
        envoy_cpu=spent[0],
        worker_cpu=spent[1],
    )


async def _streamed(path: Path, connections: int, each: int) -> Streamed:
    done = await streams(path.origin, path.model, connections=connections, each=each)
    return Streamed(
        first=_percentile(done.first, 50),
        chunk_p50=_percentile(done.transits, 50),
        chunk_p99=_percentile(done.transits, 99),
    )


def _percentile(seconds: Iterable[float], percent: int) -> float:
    """In milliseconds."""
    ordered = sorted(seconds)
    return ordered[(len(ordered) - 1) * percent // 100] * _MILLI
