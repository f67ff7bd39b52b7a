"""Scrapes come at any moment of a worker's life."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict

from extproc.telemetry.worker_metrics import WorkerMetrics

KEY = '["asked", "asked_total", {}, "Requests."]'


def test_a_worker_that_starts_is_no_reason_not_to_tell_of_the_others(tmp_path: Path) -> None:
    """Its file is there a moment before there is anything in it; one that is gone leaves what it counted."""
    for pid in ("1", "2"):
        counted = MmapedDict(str(tmp_path / f"counter_{pid}.db"))  # type: ignore[no-untyped-call] # as shipped
        counted.write_value(KEY, 3.0, 0.0)  # type: ignore[no-untyped-call] # as shipped
        counted.close()  # type: ignore[no-untyped-call] # as shipped
    (tmp_path / "counter_3.db").touch()
    (tmp_path / "counter_4.db").symlink_to(tmp_path / "gone")
    registry = CollectorRegistry()
    registry.register(WorkerMetrics(tmp_path))
    assert b"\nasked_total 6.0\n" in generate_latest(registry)
