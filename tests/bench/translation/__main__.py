"""``make bench-translation``: measure and print the table."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.bench.table import replace_between_marks, table

# No look at the network for a list of prices.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

MARKS: Final = "bench-translation"
REQUEST_BUDGET: Final = 150.0
CHUNK_BUDGET: Final = 30.0
"""Microseconds of Python."""

_ROUNDS: Final = 9
_SECONDS: Final = 0.1
_HEAD: Final = ("", "a request (µs)", "LiteLLM (µs)", "ratio", "a chunk of a stream (µs)", "LiteLLM (µs)", "ratio")


def main() -> None:
    """Exit code 1 when a budget is overspent."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.translation")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also put the table between the marks in this file")
    arguments = parser.parse_args()
    # It reads the variable above when it is imported.
    from tests.bench.translation.lanes import BODY, lanes  # noqa: PLC0415 - as above

    rows, over = [], []
    for lane in lanes():
        request, their_request = _compared(lane.request, lane.their_request, 1)
        chunk, their_chunk = _compared(lane.stream, lane.their_stream, lane.chunks)
        rows.append((lane.name, *_cells(request, their_request), *_cells(chunk, their_chunk)))
        if (request or 0) > REQUEST_BUDGET or (chunk or 0) > CHUNK_BUDGET:
            over.append(lane.name)
    where = (
        f"Measured by `make bench-translation`: Python {platform.python_version()}, LiteLLM {version('litellm')}, "
        f"CPU time, medians of {_ROUNDS} rounds in turns. A chat of {len(BODY):,} bytes, from the client's bytes to "
        "the provider's; and a chunk of text, from the provider's bytes to the client's (LiteLLM's: to its object, not "
        "yet written)."
    )
    content = f"{where}\n\n{table(_HEAD, rows)}"
    print(content)
    if arguments.write is not None:
        written = replace_between_marks(arguments.write.read_text("utf-8"), content, MARKS)
        arguments.write.write_text(written, "utf-8")
    if over:
        sys.exit(f"over {REQUEST_BUDGET:.0f} µs a request or {CHUNK_BUDGET:.0f} µs a chunk: {', '.join(over)}")


def _compared(
    ours: Callable[[], None] | None, theirs: Callable[[], None] | None, units: int
) -> tuple[float | None, float | None]:
    """Microseconds of each for one unit, measured in turns."""
    acts = [act for act in (ours, theirs) if act is not None]
    rounds = [[_microseconds(act) / units for act in acts] for _ in range(_ROUNDS)]
    medians: Iterator[float] = iter([statistics.median(column) for column in zip(*rounds, strict=True)])
    return (None if ours is None else next(medians)), (None if theirs is None else next(medians))


def _microseconds(act: Callable[[], None]) -> float:
    """Of the CPU: what else the machine does meanwhile is not the act's."""
    act()
    count, started = 0, time.process_time()
    while (spent := time.process_time() - started) < _SECONDS:
        act()
        count += 1
    return spent / count * 1e6


def _cells(ours: float | None, theirs: float | None) -> tuple[str, str, str]:
    ratio = None if ours is None or theirs is None else theirs / ours
    return _number(ours), _number(theirs), "–" if ratio is None else f"{ratio:.1f} ×"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    main()
