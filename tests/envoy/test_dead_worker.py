"""A worker that is killed under load: requests that come after its death are served by the others, not refused."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import httpx

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import FakeProvider

CLIENTS = 12
A_MOMENT = 0.25
"""Seconds after a death: the first who cannot reach the worker are how Envoy learns of it."""
EJECTIONS = "envoy_cluster_outlier_detection_ejections_enforced_total"
BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


class Load:
    """Clients that ask without pause, and remember when each request began and how it was answered."""

    def __init__(self, kortex: KortexProcess) -> None:
        self.answers: list[tuple[float, int]] = []
        self._url = f"{kortex.base_url}/chat/completions"
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait for the last answers."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=30, trust_env=False) as client:
            while not self._stopped.is_set():
                began = time.monotonic()
                self.answers.append((began, client.post(self._url, json=BODY).status_code))


def said_by_envoy(kortex: KortexProcess) -> list[str]:
    """Its own metrics."""
    return httpx.get(f"{kortex.admin_url}/metrics/envoy", trust_env=False).text.splitlines()


def is_whole(kortex: KortexProcess, restarts: int) -> bool:
    """Whether both workers serve, and Envoy has known that for a while: it asks them twice a second."""
    metrics = kortex.metrics()
    if (metrics["kortex_worker_restarts_total"], metrics["kortex_workers_serving"]) != (restarts, 2):
        return False
    time.sleep(1.0)
    return 'envoy_cluster_membership_healthy{envoy_cluster_name="extproc"} 2' in said_by_envoy(kortex)


def test_requests_that_come_after_a_workers_death_are_served() -> None:
    """Health checks alone would find it out half a second later, and it would be preferred: it has nothing to do.

    Each death may cost those that were in that worker's hands; these fail over to another backend where there is one.
    """
    with FakeProvider() as first, FakeProvider() as second:
        config: dict[str, Any] = {
            "backends": {"a": {"provider": "custom", "url": first.url}, "b": {"provider": "custom", "url": second.url}},
            "routes": {"r": {"models": ["m"], "defaultBackend": {"name": "a"}, "fallback": {"backends": ["b"]}}},
        }
        with KortexProcess(config, workers=2) as kortex:
            load, deaths = Load(kortex), []
            kortex.until(lambda: len(load.answers) > 20 * CLIENTS, "requests are answered")
            ejected = [said for said in said_by_envoy(kortex) if said.startswith(EJECTIONS) and "extproc" in said]
            for restarts in range(3):
                kortex.until(lambda: is_whole(kortex, restarts), "both workers are well")  # noqa: B023 - at once
                victim, so_far = kortex.worker_pids[0], len(load.answers)
                os.kill(victim, signal.SIGKILL)
                deaths.append(time.monotonic())
                kortex.until(lambda: len(load.answers) > so_far + 20 * CLIENTS, "more is answered")  # noqa: B023 - at once
            load.stop()
    refused = [began for began, status in load.answers if status != 200]
    late = [began for began in refused if all(not death - 1 < began < death + A_MOMENT for death in deaths)]
    assert len(load.answers) > 3 * 20 * CLIENTS
    assert not late
    # Nor is a worker passed by for how it ends the streams of requests.
    assert not [said for said in ejected if not said.endswith(" 0")]
    assert len(refused) <= 3 * 2 * CLIENTS
