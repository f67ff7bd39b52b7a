"""Addresses as text → Envoy's messages."""

from __future__ import annotations

import ipaddress
from typing import Final

from envoy_data_plane.envoy.config.core.v3 import Address, EnvoyInternalAddress, Pipe, SocketAddress
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)

from extproc.config.scalars import split_address

_UNIX: Final = "unix:"
_OWNER_ONLY: Final = 0o600
_ANY_IPV6: Final = "::"


def is_pipe(address: str) -> bool:
    """Whether it is the path of a Unix socket."""
    return address.startswith(_UNIX)


def is_numeric(host: str) -> bool:
    """Whether a host is an IP address, which needs no DNS and no SNI."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def remote_address(address: str) -> Address:
    """``unix:/path`` or ``host:port``, to connect to."""
    if is_pipe(address):
        return Address(pipe=Pipe(path=address.removeprefix(_UNIX)))
    host, port = split_address(address)
    return socket_address(host, port)


def listening_address(address: str) -> Address:
    """``unix:/path`` (for its owner only) or ``host:port``, to listen on. ``[::]`` takes IPv4 too.

    Envoy wants an IP address here; ``localhost`` is the one name with a meaning that needs no resolver.
    """
    if is_pipe(address):
        return Address(pipe=Pipe(path=address.removeprefix(_UNIX), mode=_OWNER_ONLY))
    host, port = split_address(address)
    host = "127.0.0.1" if host == "localhost" else host
    return Address(socket_address=SocketAddress(address=host, port_value=port, ipv4_compat=host == _ANY_IPV6))


def socket_address(host: str, port: int) -> Address:
    """A host, by name or number, and a port."""
    return Address(socket_address=SocketAddress(address=host, port_value=port))


def internal_address(listener: str) -> Address:
    """An internal listener of the same Envoy, by name."""
    return Address(envoy_internal_address=EnvoyInternalAddress(server_listener_name=listener))


def endpoints(cluster: str, *addresses: Address) -> ClusterLoadAssignment:
    """The endpoints of a cluster."""
    hosts = [LbEndpoint(endpoint=Endpoint(address=address)) for address in addresses]
    return ClusterLoadAssignment(cluster_name=cluster, endpoints=[LocalityLbEndpoints(lb_endpoints=hosts)])
