"""How Envoy reaches our ext_proc workers: the cluster of them, and the filter in each of the two stages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.cluster.v3 import (
    Cluster,
    ClusterCommonLbConfig,
    ClusterDiscoveryType,
    ClusterLbPolicy,
    OutlierDetection,
)
from envoy_data_plane.envoy.config.common.mutation_rules.v3 import HeaderMutationRules
from envoy_data_plane.envoy.config.core.v3 import (
    BackoffStrategy,
    GrpcService,
    GrpcServiceEnvoyGrpc,
    HeaderValue,
    HealthCheck,
    HealthCheckGrpcHealthCheck,
    Http2ProtocolOptions,
    RetryPolicy,
    RetryPolicyRetryHostPredicate,
)
from envoy_data_plane.envoy.extensions.filters.http.ext_proc.v3 import (
    ExternalProcessor,
    MetadataOptions,
    MetadataOptionsMetadataNamespaces,
    ProcessingMode,
    ProcessingModeBodySendMode,
    ProcessingModeHeaderSendMode,
)
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts.v3 import PreviousHostsPredicate
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions,
    HttpProtocolOptionsExplicitHttpConfig,
)
from envoy_data_plane.envoy.type.v3 import HttpStatus, Percent, StatusCode

from extproc.bootstrap.addresses import endpoints, is_numeric, is_pipe, remote_address
from extproc.bootstrap.limits import CONNECTION_BUFFER, MESSAGE_TIMEOUT, no_breakers
from extproc.bootstrap.typed_config import packed
from extproc.config.scalars import split_address

CLUSTER: Final = "extproc"
STAGE: Final = "x-kortex-stage"
TARGET: Final = "x-kortex-target"
ARRIVAL: Final = "arrival"
ATTEMPT: Final = "attempt"
PLAN_NAMESPACE: Final = "kortex.plan"
ATTEMPTS_NAMESPACE: Final = "kortex.attempts"

HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_FILTER: Final = "envoy.filters.http.ext_proc"
_STREAMS: Final = 1_000_000
_CHECK_EVERY: Final = timedelta(milliseconds=500)


def arrival_filter() -> HttpFilter:
    """Headers, then the whole body; the reply is none of arrival's business. Its answer to the body carries the plan.

    The headers must be sent too: without them they would be routed before the body has decided where to.
    """
    mode = ProcessingMode(
        request_header_mode=ProcessingModeHeaderSendMode.SEND,
        request_body_mode=ProcessingModeBodySendMode.BUFFERED,
        response_header_mode=ProcessingModeHeaderSendMode.SKIP,
    )
    namespaces = MetadataOptionsMetadataNamespaces(typed=[PLAN_NAMESPACE], untyped=[ATTEMPTS_NAMESPACE])
    processor = _processor({STAGE: ARRIVAL}, mode)
    if processor.grpc_service is not None:
        processor.grpc_service.retry_policy = _other_worker()
    processor.metadata_options = MetadataOptions(receiving_namespaces=namespaces)
    return HttpFilter(name=_FILTER, typed_config=packed(processor))


def attempt_filter(target: str) -> HttpFilter:
    """The attempt stage says in its reply to each request's headers how it wants the rest.

    That is: the body or not, and the reply piece by piece (full duplex), so that it can be held, rewritten and ended
    at any moment. Envoy takes such a change only where the configured mode is not full duplex already, hence NONE.
    """
    mode = ProcessingMode(
        request_header_mode=ProcessingModeHeaderSendMode.SEND,
        request_body_mode=ProcessingModeBodySendMode.BUFFERED,
        response_header_mode=ProcessingModeHeaderSendMode.SEND,
        response_body_mode=ProcessingModeBodySendMode.NONE,
    )
    processor = _processor({STAGE: ATTEMPT, TARGET: target}, mode)
    processor.allow_mode_override = True
    # A rewritten body comes with its new length.
    processor.allow_content_length_header = True
    return HttpFilter(name=_FILTER, typed_config=packed(processor))


def processor_cluster(workers: tuple[str, ...]) -> Cluster:
    """The workers. Raises ValueError when Unix sockets and network addresses are mixed, which Envoy cannot."""
    if len({is_pipe(worker) for worker in workers}) != 1:
        message = f"the workers must all be Unix sockets, or all host:port: {', '.join(workers) or 'none'}"
        raise ValueError(message)
    named = any(not is_pipe(worker) and not is_numeric(split_address(worker)[0]) for worker in workers)
    # Streams live as long as their request, and all of them share one connection per worker.
    http2 = Http2ProtocolOptions(max_concurrent_streams=_STREAMS)
    return Cluster(
        name=CLUSTER,
        type=ClusterDiscoveryType.STRICT_DNS if named else ClusterDiscoveryType.STATIC,
        connect_timeout=timedelta(seconds=1),
        per_connection_buffer_limit_bytes=CONNECTION_BUFFER,
        lb_policy=ClusterLbPolicy.LEAST_REQUEST,
        # Workers that fail their check are asked again only when no other is left: they may just be slow.
        # What is found out of them is known to all threads at once: by default, up to a second later.
        common_lb_config=ClusterCommonLbConfig(
            healthy_panic_threshold=Percent(value=1.0), update_merge_window=timedelta(0)
        ),
        load_assignment=endpoints(CLUSTER, *map(remote_address, workers)),
        circuit_breakers=no_breakers(),
        health_checks=[_health_check()],
        outlier_detection=_passed_by(),
        typed_extension_protocol_options={
            HTTP_OPTIONS: packed(
                HttpProtocolOptions(
                    explicit_http_config=HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=http2)
                )
            )
        },
    )


def _processor(metadata: Mapping[str, str], mode: ProcessingMode) -> ExternalProcessor:
    """``metadata`` tells the worker, in each stream's initial metadata, what it is asked for."""
    return ExternalProcessor(
        grpc_service=GrpcService(
            envoy_grpc=GrpcServiceEnvoyGrpc(cluster_name=CLUSTER),
            initial_metadata=[HeaderValue(key=key, value=value) for key, value in metadata.items()],
        ),
        message_timeout=MESSAGE_TIMEOUT,
        processing_mode=mode,
        # Arrival sets Envoy's x-envoy-* knobs; the attempt stage also sets host and path.
        mutation_rules=HeaderMutationRules(allow_all_routing=True, allow_envoy=True),
        status_on_error=HttpStatus(code=StatusCode.ServiceUnavailable),
    )


def _other_worker() -> RetryPolicy:
    """A stream that a worker never answered begins again at another one.

    Once: a request that kills its worker must not take all of them with it. And for arrival only: Envoy keeps every
    message of a stream that it may have to begin again, which costs a fifth of its CPU per request and shows in each
    chunk of a reply. An attempt whose worker dies fails over to the next backend instead.
    """
    return RetryPolicy(
        retry_on="connect-failure,refused-stream,unavailable",
        num_retries=1,
        retry_back_off=BackoffStrategy(
            base_interval=timedelta(milliseconds=5), max_interval=timedelta(milliseconds=20)
        ),
        retry_host_predicate=[
            RetryPolicyRetryHostPredicate(
                name="envoy.retry_host_predicates.previous_hosts", typed_config=packed(PreviousHostsPredicate())
            )
        ],
        host_selection_retry_max_attempts=20,
    )


def _passed_by() -> OutlierDetection:
    """A worker that cannot be reached is passed by at once, until it answers its check; the others take its part.

    What it answers is no reason.
    """
    return OutlierDetection(
        split_external_local_origin_errors=True,
        consecutive_local_origin_failure=1,
        enforcing_consecutive_local_origin_failure=100,
        enforcing_local_origin_success_rate=0,
        enforcing_consecutive_5xx=0,
        enforcing_consecutive_gateway_failure=0,
        enforcing_success_rate=0,
        max_ejection_percent=100,
        interval=_CHECK_EVERY,
        base_ejection_time=_CHECK_EVERY,
        max_ejection_time=_CHECK_EVERY,
    )


def _health_check() -> HealthCheck:
    """gRPC's own. A dead worker has no open requests, so without this it would be the one that is preferred.

    The timeout is long because a worker at its limit is late, not dead; one that is gone refuses at once.
    """
    return HealthCheck(
        timeout=timedelta(seconds=5),
        interval=_CHECK_EVERY,
        no_traffic_interval=_CHECK_EVERY,
        unhealthy_interval=_CHECK_EVERY / 2,
        unhealthy_threshold=1,
        healthy_threshold=1,
        grpc_health_check=HealthCheckGrpcHealthCheck(),
    )
