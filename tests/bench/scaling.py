"""Whether workers get into each other's way: each is held to the same small share of a CPU, and there are more of them.

On a machine whose CPUs the client, the provider and Envoy share, a second worker cannot show what it is worth: the CPUs
are used up with one. Held to a share, workers are the narrow place as they would be on a larger machine, and what
grows with their number is what they do, not what they take from others. They are stopped and continued in turns, so
that no two of them run at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench import wire
from tests.bench.cpu import cpu_seconds
from tests.bench.load import load
from tests.bench.paths import Path

SHARE: Final = 0.12
CONNECTIONS: Final = 32
_TURN_SECONDS: Final = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One round with each worker held to its share. CPU per request is in milliseconds."""

    rate: float
    worker_cpu: float | None


async def held_workers(path: Path, *, seconds: float) -> Held:
    """Raises WrongReply when a reply is wrong, also while its worker stands still."""
    request = wire.request(path.authority, path.model, stream=False)
    with _held(path.worker_pids):
        before = cpu_seconds(path.worker_pids)
        done = await load(path.origin, request, wire.answer_body(path.model), connections=CONNECTIONS, seconds=seconds)
        after = cpu_seconds(path.worker_pids)
    calls = len(done.latencies)
    spent = None if before is None or after is None else (after - before) / (calls + CONNECTIONS) * 1e3
    return Held(rate=calls / done.seconds, worker_cpu=spent)


@contextlib.contextmanager
def _held(pids: Sequence[int]) -> Iterator[None]:
    over = threading.Event()
    holder = threading.Thread(target=_take_turns, args=(pids, over))
    holder.start()
    try:
        yield
    finally:
        over.set()
        holder.join()


def _take_turns(pids: Sequence[int], over: threading.Event) -> None:
    """Leaves all of them running."""
    try:
        while not over.is_set():
            begun = time.monotonic()
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
                time.sleep(_TURN_SECONDS * SHARE)
                os.kill(pid, signal.SIGSTOP)
            time.sleep(max(0.0, begun + _TURN_SECONDS - time.monotonic()))
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
