"""A target's own listener inside Envoy: where the attempt stage writes the provider's request and reads its reply."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.core.v3 import HttpProtocolOptions
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, Listener, ListenerInternalListenerConfig
from envoy_data_plane.envoy.config.route.v3 import (
    DirectResponseAction,
    RetryPolicy,
    RetryPolicyRateLimitedRetryBackOff,
    RetryPolicyResetHeader,
    RetryPolicyRetryBackOff,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpFilter,
)

from extproc.bootstrap.aws_signing import signing_filter
from extproc.bootstrap.limits import CONNECTION_BUFFER, ENVOY_HEADERS_KIB, ENVOY_MOST_HEADERS, FOREVER, provider_body
from extproc.bootstrap.local_replies import provider_replies
from extproc.bootstrap.names import provider_cluster_name
from extproc.bootstrap.processor import attempt_filter
from extproc.bootstrap.typed_config import packed
from extproc.config.gateway import Gateway
from extproc.headers import FAILOVER, LOCAL_REPLY, OUTCOME
from extproc.routing.target import Target

_AGAIN: Final = [429, 500, 502, 503, 504, 529]
_LONGEST_RETRY_AFTER: Final = timedelta(seconds=5)
_SLOWEST: Final = 10


def provider_listener(target: Target, gateway: Gateway) -> Listener:
    """Reached from the edge by the hop's cluster, and from nowhere else: it has no address."""
    manager = HttpConnectionManager(
        stat_prefix="attempt",
        route_config=RouteConfiguration(
            name=target.name, virtual_hosts=[_virtual_host(target, gateway)], validate_clusters=False
        ),
        http_filters=[
            attempt_filter(target.name),
            *_signing(target),
            HttpFilter(name="envoy.filters.http.router", typed_config=packed(Router(suppress_envoy_headers=True))),
        ],
        local_reply_config=provider_replies(target.backend),
        # The request's id and its limits in time are the edge's, which ends this stream with its own.
        generate_request_id=False,
        stream_idle_timeout=FOREVER,
        # A reply that broke off ends at once. Only over a real network does closing need a moment to be heard.
        delayed_close_timeout=FOREVER,
        # What arrival adds must fit on top of what a client may send.
        max_request_headers_kb=2 * ENVOY_HEADERS_KIB,
        common_http_protocol_options=HttpProtocolOptions(max_headers_count=2 * ENVOY_MOST_HEADERS),
    )
    connection_manager = Filter(name="envoy.filters.network.http_connection_manager", typed_config=packed(manager))
    return Listener(
        name=target.name,
        internal_listener=ListenerInternalListenerConfig(),
        filter_chains=[FilterChain(filters=[connection_manager])],
        # A route that answers by itself has no limit of its own for bodies: there it is the connection's.
        per_connection_buffer_limit_bytes=provider_body(gateway) if target.provider.answer else CONNECTION_BUFFER,
    )


def _signing(target: Target) -> list[HttpFilter]:
    """Behind the attempt stage: it signs the request as the provider gets it."""
    wanted = target.provider.signing(target.settings) if target.provider.signing is not None else None
    return [] if wanted is None else [signing_filter(wanted)]


def _virtual_host(target: Target, gateway: Gateway) -> VirtualHost:
    route = Route(
        match=RouteMatch(prefix="/"),
        request_body_buffer_limit=provider_body(gateway),
        # Our marks: a provider that sends them must not steer the edge.
        response_headers_to_remove=[LOCAL_REPLY, FAILOVER, OUTCOME],
    )
    if target.provider.answer is None:
        cluster = provider_cluster_name(target)
        route.route = RouteAction(cluster=cluster, timeout=FOREVER, retry_policy=_same_provider(target))
    else:
        # The attempt stage answers by itself; this is for a request that it let pass.
        route.direct_response = DirectResponseAction(status=503)
    # The attempt stage reads from the reply how often the provider was asked.
    return VirtualHost(name=target.name, domains=["*"], routes=[route], include_attempt_count_in_response=True)


def _same_provider(target: Target) -> RetryPolicy:
    """The same provider again, which the edge does not notice. How often is the attempt stage's to say, per request.

    A Retry-After of up to 5 s is waited for; of a longer one nothing is known but that it is too long, so the pause
    is the ordinary one. Timeouts are not retried: there is none here, and the edge moves on to the next backend.
    """
    backoff = timedelta(milliseconds=target.backoff_ms)
    return RetryPolicy(
        retry_on="reset,connect-failure,refused-stream,retriable-status-codes",
        retriable_status_codes=_AGAIN,
        num_retries=0,
        retry_back_off=RetryPolicyRetryBackOff(base_interval=backoff, max_interval=_SLOWEST * backoff),
        rate_limited_retry_back_off=RetryPolicyRateLimitedRetryBackOff(
            reset_headers=[RetryPolicyResetHeader(name="retry-after")], max_interval=_LONGEST_RETRY_AFTER
        ),
    )
