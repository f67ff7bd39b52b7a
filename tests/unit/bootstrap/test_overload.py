"""What Envoy does when there is too much."""

from __future__ import annotations

from extproc.bootstrap.overload import overload_manager
from extproc.bootstrap.typed_config import to_json
from extproc.config.gateway import Gateway


def test_connections_are_limited_when_memory_is_not() -> None:
    """The default."""
    manager = to_json(overload_manager(Gateway.model_validate({"maxConnections": 7})))
    [monitor] = manager["resource_monitors"]
    assert monitor["typed_config"]["max_active_downstream_connections"] == 7
    assert "actions" not in manager


def test_harm_grows_with_memory_when_it_is_limited() -> None:
    """First what clients do not notice, then no keep-alive, refusals last."""
    manager = to_json(overload_manager(Gateway.model_validate({"heapLimit": "1GiB"})))
    steps = [
        (action["triggers"][0]["threshold"]["value"], action["name"].rpartition(".")[2])
        for action in manager["actions"]
    ]
    assert steps == [(0.90, "shrink_heap"), (0.92, "disable_http_keepalive"), (0.95, "stop_accepting_requests")]
    assert manager["resource_monitors"][1]["typed_config"]["max_heap_size_bytes"] == 1 << 30
