"""Our configuration → Envoy's, as JSON-ready values: the same input always gives the same output."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from extproc.bootstrap.placement import Placement
from extproc.bootstrap.plain_messages import plain_messages
from extproc.config.gateway import Config, Gateway
from extproc.exchange.snapshot import Snapshot
from extproc.routing.target import Target

with plain_messages():
    from envoy_data_plane.envoy.config.bootstrap.v3 import (
        Admin,
        Bootstrap,
        BootstrapDeferredStatOptions,
        BootstrapDynamicResources,
        BootstrapStaticResources,
    )
    from envoy_data_plane.envoy.config.cluster.v3 import Cluster
    from envoy_data_plane.envoy.config.core.v3 import ConfigSource, Node, PathConfigSource
    from envoy_data_plane.envoy.config.listener.v3 import Listener
    from envoy_data_plane.envoy.extensions.bootstrap.internal_listener.v3 import InternalListener
    from envoy_data_plane.envoy.extensions.network.dns_resolver.cares.v3 import CaresDnsResolverConfig
    from envoy_data_plane.envoy.service.discovery.v3 import DiscoveryResponse
    from envoy_data_plane.google.protobuf import Any as AnyMessage

    from extproc.bootstrap.addresses import listening_address
    from extproc.bootstrap.clusters import clusters_of, nowhere
    from extproc.bootstrap.edge import edge_listener
    from extproc.bootstrap.overload import overload_manager
    from extproc.bootstrap.processor import processor_cluster
    from extproc.bootstrap.provider_listener import provider_listener
    from extproc.bootstrap.tls import system_roots
    from extproc.bootstrap.typed_config import extension, packed, to_json

_REMEMBERED: Final = 8192
_NO_LIMITS: Final = Gateway()
"""Clusters do not depend on the gateway's limits."""

__all__ = ["Placement", "render_bootstrap", "render_clusters", "render_listeners", "render_static"]


def render_bootstrap(config: Config, placement: Placement) -> dict[str, Any]:
    """What Envoy starts with: all that does not change while it runs. Raises ValueError for workers of mixed kinds."""
    bootstrap = _bootstrap(config, placement)
    bootstrap.dynamic_resources = BootstrapDynamicResources(
        cds_config=_file(f"{placement.xds_directory}/cds.json"),
        lds_config=_file(f"{placement.xds_directory}/lds.json"),
    )
    return to_json(bootstrap)


def render_clusters(targets: Iterable[Target], *, version: str) -> dict[str, Any]:
    """``cds.json``: what the targets, also those of earlier snapshots, connect to."""
    rendered = [_rendered(target, _NO_LIMITS) for target in targets]
    return _resources([cluster for one in rendered for cluster in _packed_clusters(one)], version)


def render_listeners(snapshot: Snapshot, targets: Iterable[Target], *, version: str) -> dict[str, Any]:
    """``lds.json``: the edge of this snapshot, and one listener per target."""
    gateway = snapshot.config.gateway
    listeners = [_packed_listener(_rendered(target, gateway)) for target in targets]
    return _resources([packed(edge_listener(snapshot)), *listeners], version)


def render_static(snapshot: Snapshot, placement: Placement) -> dict[str, Any]:
    """All of it in one bootstrap without further files: what ``envoy --mode validate`` can judge as a whole."""
    bootstrap = _bootstrap(snapshot.config, placement)
    static = bootstrap.static_resources or BootstrapStaticResources()
    static.clusters += _clusters(snapshot.targets.values())
    static.listeners += _listeners(snapshot, snapshot.targets.values())
    bootstrap.static_resources = static
    return to_json(bootstrap)


@dataclass(frozen=True, slots=True)
class _Rendered:
    """What shapes a target's resources, by value: its name holds a digest of all else. The rest only comes along."""

    name: str
    body_limit: int
    target: Target = field(compare=False)
    gateway: Gateway = field(compare=False)


# A reload changes few of the targets; rendering one takes milliseconds.
@lru_cache(maxsize=_REMEMBERED)
def _packed_clusters(rendered: _Rendered) -> tuple[AnyMessage, ...]:
    return tuple(packed(cluster) for cluster in clusters_of(rendered.target))


@lru_cache(maxsize=_REMEMBERED)
def _packed_listener(rendered: _Rendered) -> AnyMessage:
    return packed(provider_listener(rendered.target, rendered.gateway))


def _clusters(targets: Iterable[Target]) -> list[Cluster]:
    return [cluster for target in targets for cluster in clusters_of(target)]


def _listeners(snapshot: Snapshot, targets: Iterable[Target]) -> list[Listener]:
    gateway = snapshot.config.gateway
    return [edge_listener(snapshot), *(provider_listener(target, gateway) for target in targets)]


def _bootstrap(config: Config, placement: Placement) -> Bootstrap:
    return Bootstrap(
        node=Node(id="kortex", cluster="kortex"),
        # Of no use to clients, and needed most when they are too many.
        admin=Admin(address=listening_address(placement.admin), ignore_global_conn_limit=True),
        static_resources=BootstrapStaticResources(
            clusters=[processor_cluster(placement.workers), nowhere()],
            secrets=[system_roots(placement.system_ca)],
        ),
        bootstrap_extensions=[extension("envoy.bootstrap.internal_listener", InternalListener(buffer_size_kb=1024))],
        # Envoy takes no traffic before every name was looked up, and by default gives up a silent server after minutes.
        typed_dns_resolver_config=extension(
            "envoy.network.dns_resolver.cares", CaresDnsResolverConfig(query_timeout_seconds=1, query_tries=2)
        ),
        overload_manager=overload_manager(config.gateway),
        # Statistics of clusters come into being with their first request: most of them never have one.
        deferred_stat_options=BootstrapDeferredStatOptions(enable_deferred_creation_stats=True),
    )


def _file(path: str) -> ConfigSource:
    return ConfigSource(path_config_source=PathConfigSource(path=path))


def _rendered(target: Target, gateway: Gateway) -> _Rendered:
    return _Rendered(target.name, gateway.body_limit, target, gateway)


def _resources(resources: list[AnyMessage], version: str) -> dict[str, Any]:
    return to_json(DiscoveryResponse(version_info=version, resources=resources))
