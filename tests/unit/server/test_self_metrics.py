"""The gateway's own numbers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

import extproc
from extproc.config.gateway import Config
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.server.board_keeper import BoardKeeper
from extproc.server.history import History
from extproc.server.self_metrics import SelfMetrics, Vitals


def snapshot(number: int) -> Snapshot:
    """An empty config."""
    return compile_snapshot(Config(), number=number, loaded_at=0.0, providers={}, credentials={})


def scrape(metrics: SelfMetrics) -> dict[str, float]:
    """Each sample's value by its name and labels."""
    registry = CollectorRegistry()
    registry.register(metrics)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def selfless(of: Snapshot) -> SelfMetrics:
    """The numbers of a gateway whose Envoy is somebody else's."""
    vitals = Vitals(workers_serving=1, worker_restarts=0, envoy_up=None)
    return SelfMetrics(History(of), lambda: vitals, BoardKeeper(of))


def test_numbers_are_those_of_the_moment() -> None:
    """A scrape reads, it does not remember."""
    history = History(snapshot(1))
    vitals = Vitals(workers_serving=2, worker_restarts=0, envoy_up=True)
    metrics = SelfMetrics(history, lambda: vitals, BoardKeeper(snapshot(1)))
    first = scrape(metrics)
    assert first["kortex_config_number"] == 1
    assert first["kortex_workers_serving"] == 2
    assert first["kortex_envoy_up"] == 1
    history.accept(snapshot(2))
    history.refuse("broken")
    vitals = Vitals(workers_serving=1, worker_restarts=3, envoy_up=False)
    second = scrape(metrics)
    assert second["kortex_config_number"] == 2
    assert second['kortex_config_reloads_total{result="accepted"}'] == 1
    assert second['kortex_config_reloads_total{result="rejected"}'] == 1
    assert second["kortex_config_rejected"] == 1
    assert second["kortex_workers_serving"] == 1
    assert second["kortex_worker_restarts_total"] == 3
    assert second["kortex_envoy_up"] == 0


def test_envoy_is_not_spoken_of_when_it_is_somebody_else_s() -> None:
    """A zero would be an alarm."""
    metrics = selfless(snapshot(1))
    assert "kortex_envoy_up" not in scrape(metrics)


def test_version_is_a_label() -> None:
    """So that a dashboard can tell which hosts run which."""
    metrics = selfless(snapshot(1))
    (build,) = (name for name in scrape(metrics) if name.startswith("kortex_build_info"))
    assert f'version="{extproc.__version__}"' in build
