"""How Envoy's resources are called."""

from __future__ import annotations

from extproc.routing.target import Target


def provider_cluster_name(target: Target) -> str:
    """The provider's own cluster, beside the hop's, which has the target's name."""
    return f"provider/{target.name.removeprefix('backend/')}"
