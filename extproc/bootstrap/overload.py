"""What Envoy does when there is too much of everything: connections it does not take, memory it gives back.

https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/best_practices/edge
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.overload.v3 import (
    OverloadAction,
    OverloadManager,
    ResourceMonitor,
    ThresholdTrigger,
    Trigger,
)
from envoy_data_plane.envoy.extensions.resource_monitors.downstream_connections.v3 import DownstreamConnectionsConfig
from envoy_data_plane.envoy.extensions.resource_monitors.fixed_heap.v3 import FixedHeapConfig

from extproc.bootstrap.typed_config import packed
from extproc.config.gateway import Gateway

_HEAP: Final = "envoy.resource_monitors.fixed_heap"
_CONNECTIONS: Final = "envoy.resource_monitors.global_downstream_max_connections"

# In the order in which they take effect: each does more harm than the one before it.
_HEAP_ACTIONS: Final = {
    "envoy.overload_actions.shrink_heap": 0.90,
    "envoy.overload_actions.disable_http_keepalive": 0.92,
    "envoy.overload_actions.stop_accepting_requests": 0.95,
}


def overload_manager(gateway: Gateway) -> OverloadManager:
    """The connection limit, and the memory limit where one is set.

    Envoy's resource monitor counts connections before a filter or a buffer exists for them, over all its threads; the
    connection_limit filter would take each one first to close it afterwards.
    """
    connections = DownstreamConnectionsConfig(max_active_downstream_connections=gateway.max_connections)
    monitors = [ResourceMonitor(name=_CONNECTIONS, typed_config=packed(connections))]
    actions: list[OverloadAction] = []
    if gateway.heap_limit is not None:
        heap = FixedHeapConfig(max_heap_size_bytes=gateway.heap_limit)
        monitors.append(ResourceMonitor(name=_HEAP, typed_config=packed(heap)))
        actions = [_action(name, threshold) for name, threshold in _HEAP_ACTIONS.items()]
    return OverloadManager(refresh_interval=timedelta(milliseconds=250), resource_monitors=monitors, actions=actions)


def _action(name: str, threshold: float) -> OverloadAction:
    return OverloadAction(name=name, triggers=[Trigger(name=_HEAP, threshold=ThresholdTrigger(value=threshold))])
