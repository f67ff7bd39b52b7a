"""Active health checks of a provider's server, by Envoy."""

from __future__ import annotations

from datetime import timedelta

from envoy_data_plane.envoy.config.core.v3 import HealthCheck, HealthCheckHttpHealthCheck

from extproc.routing.target import Target


def health_checks(target: Target) -> list[HealthCheck]:
    """None for a backend without one.

    A server that fails them is still sent what is meant for it: the cluster has no other, and Envoy's panic threshold
    lets it through. Where it stands in a plan is decided by those who see the others too.
    """
    check, path = target.settings.health_check, target.settings.checked_path
    if path is None:
        return []
    interval = timedelta(milliseconds=check.interval)
    return [
        HealthCheck(
            timeout=timedelta(milliseconds=check.timeout),
            interval=interval,
            # Envoy would ask a server without traffic once a minute: whoever is spared is exactly that.
            no_traffic_interval=interval,
            unhealthy_threshold=check.failure_threshold,
            healthy_threshold=1,
            http_health_check=HealthCheckHttpHealthCheck(host=target.authority, path=path),
        )
    ]
