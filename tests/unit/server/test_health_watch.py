"""What is read from Envoy's statistics about health checks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from extproc.bootstrap.names import provider_cluster_name
from extproc.bootstrap.process import EnvoyError
from extproc.config.load import load
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.providers.registry import PROVIDERS, SETTINGS
from extproc.routing.health import Circuit
from extproc.server.board_keeper import BoardKeeper
from extproc.server.health_watch import HealthWatch, healthy_clusters, statistics_of

CONFIG = b"""
backends: {a: {provider: vllm, url: "http://a.test"}, b: {provider: custom, url: "http://b.test"}}
routes: {r: {models: [m], defaultBackend: {name: a}, fallback: {backends: [b]}}}
"""


@pytest.fixture
def snapshot() -> Snapshot:
    """One backend with a health check and one without."""
    config = load(CONFIG, SETTINGS).config
    credentials = dict.fromkeys(config.backends, lambda: None)
    return compile_snapshot(config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials=credentials)


def test_a_cluster_is_healthy_unhealthy_or_not_checked_yet() -> None:
    """Names of backends may have dots in them."""
    lines = [
        "cluster.provider/a.b/1.health_check.attempt: 4",
        "cluster.provider/a.b/1.health_check.healthy: 1",
        "cluster.provider/c/2.health_check.attempt: 4",
        "cluster.provider/c/2.health_check.healthy: 0",
        "cluster.provider/d/3.health_check.attempt: 0",
        "cluster.provider/d/3.health_check.healthy: 0",
        "something else",
    ]
    assert healthy_clusters("\n".join(lines)) == {"provider/a.b/1": True, "provider/c/2": False}


async def _watched(watch: HealthWatch, snapshot: Snapshot, done: Callable[[], bool]) -> None:
    task = asyncio.create_task(watch.run(lambda: snapshot))
    try:
        async with asyncio.timeout(10):
            while not done():  # noqa: ASYNC110 - the board has no event
                await asyncio.sleep(0.01)
    finally:
        task.cancel()


async def test_what_envoy_finds_is_on_the_board_and_its_silence_changes_nothing(snapshot: Snapshot) -> None:
    """Unhealthy, then no answer from Envoy, then healthy."""
    board = BoardKeeper(snapshot)
    cluster = next(provider_cluster_name(target) for target in snapshot.targets.values() if target.backend == "a")
    asked: list[str] = []

    async def statistics(matching: str) -> str:
        asked.append(matching)
        if len(asked) == 2:
            raise EnvoyError("its admin interface does not answer")
        return f"cluster.{cluster}.health_check.attempt: 1\ncluster.{cluster}.health_check.healthy: {len(asked) // 3}"

    watch = HealthWatch(statistics, board)
    seen: list[Circuit] = []

    def done() -> bool:
        circuit = board.overview()["a"].circuit
        if not seen or seen[-1] is not circuit:
            seen.append(circuit)
        return len(asked) >= 4

    await _watched(watch, snapshot, done)
    assert seen == [Circuit.CLOSED, Circuit.OPEN, Circuit.CLOSED]
    assert board.overview()["b"].circuit is Circuit.CLOSED


async def test_envoy_is_not_asked_when_no_backend_has_a_health_check(snapshot: Snapshot) -> None:
    """Its admin interface is single-threaded."""
    asked: list[str] = []

    async def statistics(matching: str) -> str:
        asked.append(matching)
        return ""

    unchecked = replace(
        snapshot, targets={name: target for name, target in snapshot.targets.items() if target.backend == "b"}
    )
    task = asyncio.create_task(HealthWatch(statistics, BoardKeeper(snapshot)).run(lambda: unchecked))
    await asyncio.sleep(0.7)
    task.cancel()
    assert asked == []


async def test_an_envoy_that_is_not_there_is_an_envoy_error() -> None:
    """The watch goes on."""
    with pytest.raises(EnvoyError):
        await statistics_of("http://127.0.0.1:1", "x")
