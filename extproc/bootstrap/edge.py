"""The edge listener: where clients connect, where arrival judges, and where the plan is walked."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.common.mutation_rules.v3 import HeaderMutation, HeaderMutationRemoveOnMatch
from envoy_data_plane.envoy.config.core.v3 import (
    Http1ProtocolOptions,
    Http2ProtocolOptions,
    HttpProtocolOptions,
    HttpProtocolOptionsHeadersWithUnderscoresAction,
    TrafficDirection,
    TypedExtensionConfig,
)
from envoy_data_plane.envoy.config.listener.v3 import (
    Filter,
    FilterChain,
    Listener,
    ListenerConnectionBalanceConfig,
    ListenerConnectionBalanceConfigExactBalance,
)
from envoy_data_plane.envoy.config.route.v3 import (
    ClusterSpecifierPlugin,
    HeaderMatcher,
    RetryPolicy,
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
    HttpConnectionManagerPathWithEscapedSlashesAction,
    HttpFilter,
    RequestIdExtension,
)
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation.v3 import (
    HeaderMutation as EarlyHeaderMutation,
)
from envoy_data_plane.envoy.extensions.request_id.uuid.v3 import UuidRequestIdConfig
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher

from extproc.bootstrap.addresses import listening_address
from extproc.bootstrap.clusters import NOWHERE
from extproc.bootstrap.limits import (
    ENVOY_HEADERS_KIB,
    ENVOY_MOST_HEADERS,
    FOREVER,
    client_body,
    client_buffer,
    client_window,
    keepalive,
    stream_idle,
)
from extproc.bootstrap.local_replies import edge_replies
from extproc.bootstrap.processor import PLAN_NAMESPACE, arrival_filter
from extproc.bootstrap.trail_filter import attempt_filters
from extproc.bootstrap.typed_config import extension, foreign_extension, packed
from extproc.config.gateway import Gateway
from extproc.exchange.snapshot import Snapshot
from extproc.headers import EXPLAIN, FAILOVER, INTERNAL_PREFIXES, LOCAL_REPLY, OUTCOME

NAME: Final = "edge"
_PRIORITY_GROUPS: Final = "envoy.extensions.router.cluster_specifiers.priority_group.v3.PriorityGroupClusterSpecifier"
_BACKLOG: Final = 4096

# An application server may keep many calls on one connection.
_STREAMS: Final = 1024
_CONNECTION_WINDOW: Final = 16 << 20

_CLIENT_IDLE: Final = timedelta(hours=1)
_HEADERS_WITHIN: Final = timedelta(seconds=10)
_REQUEST_WITHIN: Final = timedelta(minutes=5)
_TO_CLOSE: Final = timedelta(seconds=1)
"""Without progress in writing, or until the client closes, once the connection is to be closed.

Envoy's own default. A client learns of a stream that was cut only when it is over. But what it closes it may not have
written yet: with 100 ms, clients that asked for ``connection: close`` and paused while they read lost the end of
whole replies. A lost packet is sent again after 200 ms at the soonest, and a second time after another 400.
https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto
"""
_AT_ONCE: Final = timedelta(milliseconds=1)


def edge_listener(snapshot: Snapshot) -> Listener:
    """Made of the gateway's settings, and of plans only as far as ``stream_idle`` is: few reloads change it."""
    chain = FilterChain(
        filters=[
            Filter(
                name="envoy.filters.network.http_connection_manager",
                typed_config=packed(_connection_manager(snapshot)),
            )
        ]
    )
    return Listener(
        name=NAME,
        address=listening_address(snapshot.config.gateway.listen),
        traffic_direction=TrafficDirection.INBOUND,
        filter_chains=[chain],
        per_connection_buffer_limit_bytes=client_buffer(snapshot.config.gateway),
        tcp_backlog_size=_BACKLOG,
        tcp_keepalive=keepalive(),
        # One socket for all threads, which share its connections evenly. With a socket each, a second gateway on the
        # same port would start without a word and take half of the requests.
        enable_reuse_port=False,
        connection_balance_config=ListenerConnectionBalanceConfig(
            exact_balance=ListenerConnectionBalanceConfigExactBalance()
        ),
    )


def _connection_manager(snapshot: Snapshot) -> HttpConnectionManager:
    gateway = snapshot.config.gateway
    router = Router(suppress_envoy_headers=True, upstream_http_filters=attempt_filters())
    return HttpConnectionManager(
        stat_prefix=NAME,
        server_name="kortex",
        route_config=RouteConfiguration(name=NAME, virtual_hosts=[_virtual_host(gateway)], validate_clusters=False),
        http_filters=[arrival_filter(), HttpFilter(name="envoy.filters.http.router", typed_config=packed(router))],
        local_reply_config=edge_replies(gateway),
        # Who calls is the address that connects; a client's own x-forwarded-for is not believed and not handed on.
        use_remote_address=True,
        skip_xff_append=True,
        early_header_mutation_extensions=[_strip_internal_headers()],
        generate_request_id=True,
        preserve_external_request_id=True,
        always_set_request_id_in_response=True,
        # Envoy would note its tracing decision in a digit of the client's id.
        request_id_extension=RequestIdExtension(typed_config=packed(UuidRequestIdConfig(pack_trace_reason=False))),
        normalize_path=True,
        merge_slashes=True,
        # Arrival reads the path itself, and a model's name may hold %2F.
        path_with_escaped_slashes_action=HttpConnectionManagerPathWithEscapedSlashesAction.KEEP_UNCHANGED,
        max_request_headers_kb=ENVOY_HEADERS_KIB,
        common_http_protocol_options=HttpProtocolOptions(
            idle_timeout=_CLIENT_IDLE,
            max_headers_count=ENVOY_MOST_HEADERS,
            # A server behind may take x_y for x-y; no client of an API that has no such header means anything by one.
            headers_with_underscores_action=HttpProtocolOptionsHeadersWithUnderscoresAction.DROP_HEADER,
        ),
        http_protocol_options=Http1ProtocolOptions(accept_http_10=True),
        http2_protocol_options=Http2ProtocolOptions(
            max_concurrent_streams=_STREAMS,
            initial_stream_window_size=client_window(gateway),
            initial_connection_window_size=_CONNECTION_WINDOW,
        ),
        delayed_close_timeout=_TO_CLOSE,
        request_headers_timeout=_HEADERS_WITHIN,
        request_timeout=_REQUEST_WITHIN,
        stream_idle_timeout=stream_idle(snapshot),
    )


def _strip_internal_headers() -> TypedExtensionConfig:
    """A client may not speak in our name, in Envoy's, or in a proxy's. Runs before Envoy adds headers of its own."""
    removed = [
        HeaderMutation(
            remove_on_match=HeaderMutationRemoveOnMatch(
                key_matcher=StringMatcher(safe_regex=RegexMatcher(regex=_all_but(prefix, EXPLAIN)))
            )
        )
        for prefix in (*INTERNAL_PREFIXES, "x-forwarded-")
    ]
    return extension("envoy.http.early_header_mutation.header_mutation", EarlyHeaderMutation(mutations=removed))


def _all_but(prefix: str, kept: str) -> str:
    """Names that begin with the prefix, but for one. RE2 has no look-ahead: each way to leave that is spelled out."""
    if not kept.startswith(prefix):
        return f"(?i){prefix}.*"
    rest = kept.removeprefix(prefix)
    ways = [f"{rest[:index]}([^{sign}].*)?" for index, sign in enumerate(rest)]
    return f"(?i){prefix}({'|'.join(ways)}|{rest}.+)"


def _virtual_host(gateway: Gateway) -> VirtualHost:
    route = Route(
        match=RouteMatch(prefix="/"),
        route=RouteAction(
            inline_cluster_specifier_plugin=_plan_walker(), timeout=FOREVER, retry_policy=_next_backend()
        ),
        request_body_buffer_limit=client_body(gateway),
        response_headers_to_remove=[FAILOVER, OUTCOME, LOCAL_REPLY],
    )
    return VirtualHost(name=NAME, domains=["*"], routes=[route], include_request_attempt_count=True)


def _plan_walker() -> ClusterSpecifierPlugin:
    """Attempt n goes to entry n of the plan that arrival wrote; the list here serves only requests without one.

    envoy-data-plane does not know the message yet. The field that names the metadata moves in releases after 1.40.
    https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/cluster_specifier/priority_group
    """
    value = {
        "priority_groups": [{"name": "unplanned", "clusters": [{"cluster_name": NOWHERE, "weight": 1}]}],
        "override_metadata_namespace": PLAN_NAMESPACE,
    }
    name = "envoy.router.cluster_specifier_plugin.priority_group"
    return ClusterSpecifierPlugin(extension=foreign_extension(name, _PRIORITY_GROUPS, value))


def _next_backend() -> RetryPolicy:
    """Failover: whatever the attempt stage marked, and attempts that gave no reply. The next backend needs no pause.

    How often and how long is arrival's to say, per request, in x-envoy-max-retries and its siblings.
    """
    return RetryPolicy(
        retry_on="reset,connect-failure,refused-stream,retriable-headers",
        retriable_headers=[HeaderMatcher(name=FAILOVER, present_match=True)],
        num_retries=0,
        refresh_cluster_on_retry=True,
        retry_back_off=RetryPolicyRetryBackOff(base_interval=_AT_ONCE, max_interval=_AT_ONCE),
    )
