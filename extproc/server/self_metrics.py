"""What Prometheus is told about the gateway as such: its config, its workers and its Envoy."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

import extproc
from extproc.routing.health import Circuit
from extproc.server.board_keeper import BoardKeeper
from extproc.server.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """One moment. ``envoy_up`` is None where Envoy is somebody else's."""

    workers_serving: int
    worker_restarts: int
    envoy_up: bool | None


class SelfMetrics(Collector):
    """Reads the numbers when it is asked for them, so that they are never out of date."""

    def __init__(self, history: History, vitals: Callable[[], Vitals], board: BoardKeeper) -> None:
        self._board = board
        self._history = history
        self._vitals = vitals

    def collect(self) -> Iterator[Metric]:
        """For each scrape."""
        vitals = self._vitals()
        version = {"version": extproc.__version__, "python": platform.python_version()}
        yield InfoMetricFamily("kortex_build", "The version that runs.", version)
        reloads = CounterMetricFamily("kortex_config_reloads", "Configs offered after the first.", labels=("result",))
        reloads.add_metric(("accepted",), self._history.accepted)
        reloads.add_metric(("rejected",), self._history.rejected)
        yield reloads
        yield GaugeMetricFamily("kortex_config_number", "The number of the config in force.", self._history.number)
        yield GaugeMetricFamily(
            "kortex_config_rejected", "1 while the newest config offered is one that was refused.", self._is_rejected()
        )
        yield GaugeMetricFamily("kortex_workers_serving", "Workers that serve.", vitals.workers_serving)
        yield CounterMetricFamily(
            "kortex_worker_restarts", "Workers started again after they had died.", vitals.worker_restarts
        )
        if vitals.envoy_up is not None:
            yield GaugeMetricFamily("kortex_envoy_up", "1 while Envoy runs.", int(vitals.envoy_up))

        yield from self._circuits()

    def _circuits(self) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            "kortex_backend_circuit", "1 for the state a backend's circuit is in.", labels=("backend", "state")
        )
        for backend, state in self._board.overview().items():
            for circuit in Circuit:
                states.add_metric((backend, circuit.value), int(state.circuit is circuit))
        yield states
        opened = CounterMetricFamily(
            "kortex_backend_circuit_opened", "How often a backend's circuit has opened.", labels=("backend",)
        )
        for backend, count in self._board.opened().items():
            opened.add_metric((backend,), count)
        yield opened

    def _is_rejected(self) -> int:
        return int(self._history.last_refused is not None)
