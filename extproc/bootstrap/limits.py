"""Numbers that several parts of Envoy's configuration must agree on: how much is buffered, how long is waited."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.cluster.v3 import CircuitBreakers, CircuitBreakersThresholds
from envoy_data_plane.envoy.config.core.v3 import TcpKeepalive

from extproc.config.gateway import Gateway
from extproc.exchange.snapshot import Snapshot
from extproc.headers import LARGEST_HEADERS, MOST_HEADERS

FOREVER: Final = timedelta(0)
"""How Envoy writes "no limit" where it has a timeout."""

CONNECTION_BUFFER: Final = 1 << 20
"""Bytes a connection may hold before its sender is slowed down; no limit for whole requests."""

ENVOY_HEADERS_KIB: Final = (LARGEST_HEADERS >> 10) + 32
ENVOY_MOST_HEADERS: Final = MOST_HEADERS + 64
"""Envoy checks again after each change of the headers; arrival refuses what is over the limits clients are told."""

MESSAGE_TIMEOUT: Final = timedelta(seconds=30)
"""For one answer of a worker. A worker answers within milliseconds; this bounds the harm of one that hangs."""

_SMALLEST_WINDOW: Final = (1 << 16) - 1
_GROWTH: Final = 2
_HOUR: Final = timedelta(hours=1)
_MARGIN: Final = timedelta(minutes=1)
_UNREACHABLE: Final = 1_000_000


def client_body(gateway: Gateway) -> int:
    """Bytes of a client's body: exactly this many pass, one more is a 413."""
    return gateway.body_limit


def client_buffer(gateway: Gateway) -> int:
    """``CONNECTION_BUFFER`` for clients. What fits in there is never refused, so it may not exceed the body limit."""
    return min(CONNECTION_BUFFER, gateway.body_limit)


def client_window(gateway: Gateway) -> int:
    """The same for an HTTP/2 stream, whose window the protocol does not let be smaller than 64 KiB."""
    return max(client_buffer(gateway), _SMALLEST_WINDOW)


def provider_body(gateway: Gateway) -> int:
    """Bytes of a body for a provider, whose dialect may be wordier. Over it, Envoy would silently not retry."""
    return gateway.body_limit * _GROWTH


def stream_idle(snapshot: Snapshot) -> timedelta:
    """After how long without a byte in either direction a request is given up: longer than any wait that is meant.

    The longest of those is a plan whose backends all keep silent until their time is over. Every shorter limit is
    enforced elsewhere (by the per-try timeout and by the attempt stage), so this one only ends what hangs for another
    reason, such as a client that stops reading. It is rounded up to whole hours, so that few changes of the
    configuration touch the edge listener: Envoy would drain the connections of its clients.
    """
    routes = [*snapshot.exact.values(), *(route for _, route in snapshot.globs)]
    longest = max(
        (route.longest_plan * max(route.first_token_ms, route.unstreamed_ms) + route.idle_ms for route in routes),
        default=0,
    )
    return -(-(timedelta(milliseconds=longest) + _MARGIN) // _HOUR) * _HOUR


def no_breakers(*, at_once: int | None = None) -> CircuitBreakers:
    """None: overload is judged at the edge. Envoy's defaults (1024 requests, 3 retries) would refuse far too early.

    ``at_once`` is a backend's own limit of requests; the next one is refused at once, and goes to the next backend.
    """
    thresholds = CircuitBreakersThresholds(
        max_connections=_UNREACHABLE,
        max_pending_requests=_UNREACHABLE,
        max_requests=_UNREACHABLE if at_once is None else at_once,
        max_retries=_UNREACHABLE,
    )
    return CircuitBreakers(thresholds=[thresholds])


def keepalive() -> TcpKeepalive:
    """TCP probes while nothing is said, for a model may think longer than a NAT device remembers a silent connection.

    A peer that has vanished is found out within two minutes.
    """
    return TcpKeepalive(keepalive_time=60, keepalive_interval=15, keepalive_probes=3)
