"""Two clusters per target: the hop from the edge to its provider listener, and the provider itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from envoy_data_plane.envoy.config.cluster.v3 import (
    Cluster,
    ClusterCustomClusterType,
    ClusterDiscoveryType,
    UpstreamConnectionOptions,
    UpstreamConnectionOptionsFirstAddressFamilyVersion,
    UpstreamConnectionOptionsHappyEyeballsConfig,
)
from envoy_data_plane.envoy.config.core.v3 import (
    Http1ProtocolOptions,
    Http2ProtocolOptions,
    HttpProtocolOptions,
    KeepaliveSettings,
)
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment
from envoy_data_plane.envoy.extensions.clusters.common.dns.v3 import DnsLookupFamily
from envoy_data_plane.envoy.extensions.clusters.dns.v3 import DnsCluster
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions as ClusterHttpOptions,
)
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptionsAutoHttpConfig,
    HttpProtocolOptionsExplicitHttpConfig,
)

from extproc.bootstrap.addresses import endpoints, internal_address, is_numeric, socket_address
from extproc.bootstrap.health_check import health_checks
from extproc.bootstrap.limits import CONNECTION_BUFFER, keepalive, no_breakers
from extproc.bootstrap.names import provider_cluster_name
from extproc.bootstrap.processor import HTTP_OPTIONS
from extproc.bootstrap.tls import tls_to
from extproc.bootstrap.typed_config import packed
from extproc.routing.target import Target

NOWHERE: Final = "kortex.none"
"""The edge's route without a plan. No request ever takes it: arrival plans a request or answers it."""

_PORTS: Final = {"http": 80, "https": 443}

# Shorter than the other side's keep-alive, or a request may meet a connection that is just being closed. Public APIs
# sit behind front ends that wait a minute or more; a self-hosted engine is often a bare uvicorn, which waits 5 s.
_IDLE_TLS: Final = timedelta(seconds=50)
_IDLE_PLAIN: Final = timedelta(seconds=4)
_IDLE_HOP: Final = timedelta(minutes=5)
# Inside one thread, so that only its own standing still takes long; without a listener it fails at once.
_CONNECT_HOP: Final = timedelta(seconds=10)
_PING_EVERY: Final = timedelta(seconds=30)
_PING_ANSWER: Final = timedelta(seconds=15)

# Where IPv6 leads nowhere, that is known at once. The last address's error is the one that is told, so the address that
# more often says something useful (a bad certificate) comes last.
_IPV6_FIRST: Final = UpstreamConnectionOptionsHappyEyeballsConfig(
    first_address_family_version=UpstreamConnectionOptionsFirstAddressFamilyVersion.V6, first_address_family_count=1
)


def nowhere() -> Cluster:
    """A cluster without endpoints."""
    return Cluster(
        name=NOWHERE,
        type=ClusterDiscoveryType.STATIC,
        load_assignment=ClusterLoadAssignment(cluster_name=NOWHERE),
    )


def clusters_of(target: Target) -> list[Cluster]:
    """What a target needs. A provider that is part of the gateway has nobody to connect to."""
    return [_hop(target)] if target.provider.answer is not None else [_hop(target), _provider(target)]


def _hop(target: Target) -> Cluster:
    """From the edge to the target's internal listener: a function call in the shape of a connection."""
    http1 = HttpProtocolOptionsExplicitHttpConfig(http_protocol_options=Http1ProtocolOptions())
    options = ClusterHttpOptions(
        # Well under the other end's hour, so that only this end ever closes an idle connection.
        common_http_protocol_options=HttpProtocolOptions(idle_timeout=_IDLE_HOP),
        explicit_http_config=http1,
    )
    return Cluster(
        name=target.name,
        type=ClusterDiscoveryType.STATIC,
        connect_timeout=_CONNECT_HOP,
        per_connection_buffer_limit_bytes=CONNECTION_BUFFER,
        load_assignment=endpoints(target.name, internal_address(target.name)),
        circuit_breakers=no_breakers(),
        typed_extension_protocol_options={HTTP_OPTIONS: packed(options)},
    )


def _provider(target: Target) -> Cluster:
    """The provider's server."""
    url = urlsplit(target.settings.url)
    host = url.hostname or ""
    secure = url.scheme == "https"
    name = provider_cluster_name(target)
    return Cluster(
        name=name,
        type=ClusterDiscoveryType.STATIC if is_numeric(host) else None,
        cluster_type=None if is_numeric(host) else _by_name(),
        connect_timeout=timedelta(milliseconds=target.connect_ms),
        per_connection_buffer_limit_bytes=CONNECTION_BUFFER,
        load_assignment=endpoints(name, socket_address(host, url.port or _PORTS[url.scheme])),
        circuit_breakers=no_breakers(at_once=target.settings.max_concurrency),
        health_checks=health_checks(target),
        upstream_connection_options=UpstreamConnectionOptions(
            tcp_keepalive=keepalive(), happy_eyeballs_config=_IPV6_FIRST
        ),
        transport_socket=tls_to(host, target.settings.ca_file) if secure else None,
        typed_extension_protocol_options={HTTP_OPTIONS: packed(_tls_options() if secure else _plain_options())},
    )


def _by_name() -> ClusterCustomClusterType:
    """A name's addresses as one endpoint: Envoy connects to them in turn (RFC 8305) and takes whichever answers.

    It keeps its connections when the DNS of a large provider moves on.
    """
    options = DnsCluster(
        respect_dns_ttl=True, dns_lookup_family=DnsLookupFamily.ALL, all_addresses_in_single_endpoint=True
    )
    return ClusterCustomClusterType(name="envoy.clusters.dns", typed_config=packed(options))


def _tls_options() -> ClusterHttpOptions:
    """HTTP/2 or HTTP/1.1, as the server chooses by ALPN. A connection that died in silence is found by a ping."""
    ping = KeepaliveSettings(interval=_PING_EVERY, timeout=_PING_ANSWER)
    return ClusterHttpOptions(
        common_http_protocol_options=HttpProtocolOptions(idle_timeout=_IDLE_TLS),
        auto_config=HttpProtocolOptionsAutoHttpConfig(
            http_protocol_options=Http1ProtocolOptions(),
            http2_protocol_options=Http2ProtocolOptions(connection_keepalive=ping),
        ),
    )


def _plain_options() -> ClusterHttpOptions:
    return ClusterHttpOptions(
        common_http_protocol_options=HttpProtocolOptions(idle_timeout=_IDLE_PLAIN),
        explicit_http_config=HttpProtocolOptionsExplicitHttpConfig(http_protocol_options=Http1ProtocolOptions()),
    )
