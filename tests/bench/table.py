"""What was measured → the README's tables. Ratios are made within each round, and only then is their median taken."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from tests.bench import wire
from tests.bench.measure import MANY, ONE, Plan, Shown, Streamed
from tests.bench.paths import ENVOY
from tests.bench.scaling import CONNECTIONS, SHARE

BEGIN: Final = "<!-- bench:begin -->"
END: Final = "<!-- bench:end -->"

_NOTHING: Final = "–"
_WHOLE: Final = (
    *("Whole replies", "workers", "1 connection: p50, p99 (ms)", "p50 to Envoy alone's"),
    *("16 connections: requests/s", "of Envoy alone's", "p50, p99 (ms)", "CPU per request: Envoy, workers (ms)"),
)
_STREAMED: Final = (
    *("Streams", "workers", "1 stream: first token (ms)", "added", "a chunk (ms)", "added"),
    *("16 streams: first token (ms)", "added", "a chunk p50, p99 (ms)", "added"),
)
_HELD: Final = ("Held workers", "workers", "requests/s", "to one worker's", "their CPU per request (ms)")
_Round = TypeVar("_Round")


def tables(shown: Sequence[Shown], plan: Plan, envoy_version: str) -> str:
    """Markdown: whole replies, then streams, under a line that says where it was measured."""
    where = (
        f"Measured by `make bench`: Envoy {envoy_version}, Python {platform.python_version()}, {os.cpu_count()} CPUs "
        "that everything shares, the client and the provider included; medians of "
        f"{plan.rounds} rounds. Compare the ratios, not the times."
    )
    how = (
        "A chunk's time is from its write at the provider to its arrival at the client; each stream has one every "
        f"{wire.CHUNK_SECONDS * 1e3:.0f} ms. `added` is to Envoy alone."
    )
    scaling = (
        f"Workers that are each held to {SHARE:.0%} of a CPU, so that the machine is not what limits them "
        f"({CONNECTIONS} connections):"
    )
    free = [each for each in shown if each.whole[ONE]]
    whole = _table(_WHOLE, (_whole_row(each, _envoy_alone(shown, each)) for each in free))
    streamed = _table(_STREAMED, (_stream_row(each, _envoy_alone(shown, each)) for each in free))
    held = _held_table([each for each in shown if each.held])
    return f"{where}\n\n{whole}\n\n{streamed}\n\n{how}\n\n{scaling}\n\n{held}"


def replace_between_marks(text: str, content: str, first: str = BEGIN, last: str = END) -> str:
    """The text with the content between its two marks. Raises ValueError when it does not have them."""
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"there are no {first} and {last}")
    return f"{before}{begin}\n{content}\n{end}{after}"


def _envoy_alone(shown: Iterable[Shown], one: Shown) -> Shown | None:
    """What to compare with: Envoy alone with as many threads; None for what is no Kortex."""
    if not one.path.worker_pids:
        return None
    return next(each for each in shown if each.path.name == ENVOY and each.path.workers == one.path.workers)


def _whole_row(one: Shown, envoy: Shown | None) -> tuple[str, ...]:
    single, many = one.whole[ONE], one.whole[MANY]
    spent = [_or_nothing(each.envoy_cpu for each in many), _or_nothing(each.worker_cpu for each in many)]
    ratio = share = _NOTHING
    if envoy is not None:
        ratio = f"{_compared(single, envoy.whole[ONE], lambda ours, its: ours.p50 / its.p50):.1f} ×"
        share = f"{_compared(many, envoy.whole[MANY], lambda ours, its: ours.rate / its.rate):.1%}"
    return (
        *_name(one),
        _times(single, lambda each: each.p50, lambda each: each.p99),
        ratio,
        f"{_median(each.rate for each in many):,.0f}",
        share,
        _times(many, lambda each: each.p50, lambda each: each.p99),
        ", ".join(spent),
    )


def _stream_row(one: Shown, envoy: Shown | None) -> tuple[str, ...]:
    cells = [*_name(one)]
    for connections in (ONE, MANY):
        rounds = one.streamed[connections]
        first = chunk = _NOTHING
        if envoy is not None:
            its = envoy.streamed[connections]
            first = f"{_compared(rounds, its, lambda ours, its: ours.first - its.first):+.2f}"
            chunk = f"{_compared(rounds, its, lambda ours, its: ours.chunk_p50 - its.chunk_p50):+.2f}"
        reads = (_chunk_p50,) if connections == ONE else (_chunk_p50, _chunk_p99)
        cells += [f"{_median(each.first for each in rounds):.2f}", first, _times(rounds, *reads), chunk]
    return tuple(cells)


def _held_table(shown: Sequence[Shown]) -> str:
    fewest = min(shown, key=lambda each: each.path.workers)
    rows = (
        (
            *_name(each),
            f"{_median(one.rate for one in each.held):,.0f}",
            f"{_compared(each.held, fewest.held, lambda ours, its: ours.rate / its.rate):.1f} ×",
            _or_nothing(one.worker_cpu for one in each.held),
        )
        for each in shown
    )
    return _table(_HELD, rows)


def _chunk_p50(streamed: Streamed) -> float:
    return streamed.chunk_p50


def _chunk_p99(streamed: Streamed) -> float:
    return streamed.chunk_p99


def _name(one: Shown) -> tuple[str, str]:
    return one.path.name, str(one.path.workers or _NOTHING)


def _times(rounds: Sequence[_Round], *reads: Callable[[_Round], float]) -> str:
    return ", ".join(f"{_median(map(read, rounds)):.2f}" for read in reads)


def _compared(ours: Sequence[_Round], its: Sequence[_Round], compare: Callable[[_Round, _Round], float]) -> float:
    return _median(compare(*pair) for pair in zip(ours, its, strict=True))


def _or_nothing(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{_median(known):.2f}" if known else _NOTHING


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    marks = ["---" if column == 0 else "---:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *rows))
