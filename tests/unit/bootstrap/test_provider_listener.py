"""A target's listener: what is its own, and what the same provider gets again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from extproc.bootstrap.clusters import clusters_of
from extproc.bootstrap.provider_listener import provider_listener
from extproc.bootstrap.typed_config import to_json
from extproc.exchange.snapshot import Snapshot
from extproc.routing.target import Target

CONFIG = """
gateway: {bodyLimit: 4MiB}
backends:
  real: {provider: custom, url: "http://127.0.0.1:9"}
  built-in: {provider: demo}
routes:
  real: {models: [real], defaultBackend: {name: real}, retries: {backoff: 250ms}}
  built-in: {models: [built-in], defaultBackend: {name: built-in}}
"""


@pytest.fixture
def snapshot(compiled: Callable[[str], Snapshot]) -> Snapshot:
    """A real provider, and one that is part of the gateway."""
    return compiled(CONFIG)


def target(snapshot: Snapshot, backend: str) -> Target:
    """The only target of a backend."""
    return next(target for target in snapshot.targets.values() if target.backend == backend)


def manager(snapshot: Snapshot, backend: str) -> dict[str, Any]:
    """The HTTP connection manager's settings."""
    listener = to_json(provider_listener(target(snapshot, backend), snapshot.config.gateway))
    typed: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return typed


def route(snapshot: Snapshot, backend: str) -> dict[str, Any]:
    """Its only route."""
    only: dict[str, Any] = manager(snapshot, backend)["route_config"]["virtual_hosts"][0]["routes"][0]
    return only


def test_listener_is_found_by_the_targets_name(snapshot: Snapshot) -> None:
    """The plan names the hop's cluster, that names the listener, and the listener tells the worker."""
    real = target(snapshot, "real")
    listener = to_json(provider_listener(real, snapshot.config.gateway))
    hop, provider = (to_json(cluster) for cluster in clusters_of(real))
    endpoint = hop["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
    assert hop["name"] == real.name
    assert endpoint == {"envoy_internal_address": {"server_listener_name": listener["name"]}}
    assert listener["internal_listener"] == {}
    assert route(snapshot, "real")["route"]["cluster"] == provider["name"]
    attempt = manager(snapshot, "real")["http_filters"][0]["typed_config"]["grpc_service"]
    assert {"key": "x-kortex-target", "value": real.name} in attempt["initial_metadata"]


def test_same_provider_is_asked_again_as_the_table_says(snapshot: Snapshot) -> None:
    """How often is in a header of each request; a timeout is not among the reasons."""
    policy = route(snapshot, "real")["route"]["retry_policy"]
    assert policy["retry_on"] == "reset,connect-failure,refused-stream,retriable-status-codes"
    assert policy["retriable_status_codes"] == [429, 500, 502, 503, 504, 529]
    assert policy["num_retries"] == 0
    assert policy["retry_back_off"] == {"base_interval": "0.25s", "max_interval": "2.5s"}
    assert policy["rate_limited_retry_back_off"]["max_interval"] == "5s"
    assert "per_try_timeout" not in policy


def test_nobody_is_connected_to_when_the_provider_is_built_in(snapshot: Snapshot) -> None:
    """The attempt stage answers. A request that it lets pass is an error, not a connection."""
    built_in = target(snapshot, "built-in")
    assert [cluster.name for cluster in clusters_of(built_in)] == [built_in.name]
    assert route(snapshot, "built-in")["direct_response"] == {"status": 503}


@pytest.mark.parametrize("backend", ["real", "built-in"])
def test_body_may_grow_on_its_way(snapshot: Snapshot, backend: str) -> None:
    """Where a route answers by itself, its own limit does not hold, but the connection's."""
    listener = to_json(provider_listener(target(snapshot, backend), snapshot.config.gateway))
    limits = {"real": 1 << 20, "built-in": 8 << 20}
    assert listener["per_connection_buffer_limit_bytes"] == limits[backend]
    assert route(snapshot, backend)["request_body_buffer_limit"] == 8 << 20


def test_silence_is_left_to_the_edge(snapshot: Snapshot) -> None:
    """Envoy's own default would end an unstreamed call after five minutes."""
    assert manager(snapshot, "real")["stream_idle_timeout"] == "0s"
    assert route(snapshot, "real")["route"]["timeout"] == "0s"
