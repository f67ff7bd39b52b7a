"""Replies that Envoy makes itself, in OpenAI's error shape: at the edge for the client, inside for the attempt stage.

A reply that we made (an ext_proc immediate response) passes through the same rewriting. It is told apart by its
response code details, which carry ``LOCAL_DETAILS_PREFIX``, and left alone.
https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_conn_man/local_reply
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from envoy_data_plane.envoy.config.accesslog.v3 import (
    AccessLogFilter,
    ComparisonFilter,
    ComparisonFilterOp,
    ExtensionFilter,
    StatusCodeFilter,
)
from envoy_data_plane.envoy.config.core.v3 import (
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
    RuntimeUInt32,
    SubstitutionFormatString,
)
from envoy_data_plane.envoy.extensions.access_loggers.filters.cel.v3 import ExpressionFilter
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    LocalReplyConfig,
    ResponseMapper,
)
from envoy_data_plane.google.protobuf import Struct

from extproc.bootstrap.trail_filter import METADATA, TRIED
from extproc.bootstrap.typed_config import packed
from extproc.config.gateway import Gateway
from extproc.exchange.failure import local_failure
from extproc.exchange.verdict import Reason
from extproc.headers import (
    ATTEMPTS,
    BACKEND,
    FAILOVER,
    LARGEST_HEADERS,
    LOCAL_DETAILS_PREFIX,
    LOCAL_REPLY,
    MOST_HEADERS,
    OUTCOME,
    REQUEST_ID,
)

_INVALID: Final = "invalid_request_error"
_SERVER: Final = "server_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wording:
    """What a client is told. ``code`` as ``extproc.errors`` has it; ``status`` replaces Envoy's."""

    message: str
    type: str
    code: str | None
    status: int | None = None
    tried: bool = False
    """Whether backends may have been tried, so that the reply tells how often and which."""


_UNAVAILABLE: Final = _Wording(
    message="The gateway cannot process requests right now. Please try again.",
    type=_SERVER,
    code="gateway_unavailable",
    status=503,
)
_UNREACHED: Final = _Wording(
    message="The gateway could not pass the request on to a backend. Please try again.",
    type=_SERVER,
    code="gateway_failure",
    tried=True,
)


def edge_replies(gateway: Gateway) -> LocalReplyConfig:
    """For clients: every reply of Envoy's own is a sentence and a code, and tells nothing about the inside."""
    worded = [
        *((_details_start(prefix), wording) for prefix, wording in _BY_DETAILS.items()),
        *((_status(status), wording) for status, wording in _by_status(gateway).items()),
        (_from(500), _UNREACHED),
        (_from(400), _MALFORMED),
    ]
    # A request that could not even be read has no id yet.
    named = _header(REQUEST_ID, "%UNIQUE_ID%", HeaderValueOptionHeaderAppendAction.ADD_IF_ABSENT)
    return LocalReplyConfig(mappers=[_own(), *(_mapper(when, wording, named) for when, wording in worded)])


def provider_replies(backend: str) -> LocalReplyConfig:
    """For the edge and the attempt stage: marked to go to the next backend, with Envoy's own name for what went wrong.

    The attempt stage reads that name, judges, and writes the client's error and the attempt's outcome. Two kinds of
    reply reach the edge without it: when the worker fails, and when the provider's connection is cut while the reply's
    headers are still held. What these lack of an error of ours is added there (``trail_filter``).
    """
    cut, reason = local_failure("", backend)
    closed = _Wording(message=cut.message, type=cut.type, code=cut.code, status=cut.status)
    return LocalReplyConfig(
        mappers=[
            _own(),
            _mapper(_details_start("ext_proc"), _UNAVAILABLE, *_marks(backend, Reason.GATEWAY)),
            _mapper(_from(400), closed, *_marks(backend, reason)),
        ]
    )


def _marks(backend: str, reason: Reason) -> list[HeaderValueOption]:
    return [
        _header(FAILOVER, reason.value),
        _header(OUTCOME, f"{backend}={reason};;%DURATION%"),
        _header(LOCAL_REPLY, "%RESPONSE_CODE_DETAILS%"),
        _header(BACKEND, backend),
    ]


_BY_DETAILS: Final = {
    "ext_proc": _UNAVAILABLE,
    "overload": _Wording(
        message="The gateway is at the limit of its memory. Please try again later.",
        type=_SERVER,
        code="overloaded",
    ),
}

_MALFORMED: Final = _Wording(
    message="The request is not valid HTTP (%RESPONSE_CODE_DETAILS%).", type=_INVALID, code=None
)


def _by_status(gateway: Gateway) -> dict[int, _Wording]:
    return {
        403: _Wording(
            message="The gateway speaks plain HTTP requests and server-sent events: it upgrades to no other protocol.",
            type=_INVALID,
            code="upgrade_not_supported",
        ),
        404: _Wording(
            message="Unknown request URL: %REQ(:METHOD)% %PATH(NQ)%.",
            type=_INVALID,
            code="unknown_url",
        ),
        408: _Wording(
            message="The request did not arrive completely in time.",
            type=_INVALID,
            code="request_timeout",
        ),
        413: _Wording(
            message=f"The request body is larger than the limit of {gateway.body_limit} bytes.",
            type=_INVALID,
            code="request_too_large",
        ),
        431: _Wording(
            message=f"The request headers are larger than {LARGEST_HEADERS >> 10} KiB, or more than {MOST_HEADERS}.",
            type=_INVALID,
            code="headers_too_large",
        ),
        501: _Wording(
            message="This transfer-encoding is not supported: send the body chunked or with its content-length.",
            type=_INVALID,
            code="transfer_encoding_not_supported",
        ),
        504: _Wording(message="No backend answered in time.", type=_SERVER, code="timeout", tried=True),
    }


def _mapper(when: AccessLogFilter, wording: _Wording, *headers: HeaderValueOption) -> ResponseMapper:
    error: dict[str, Any] = {
        "message": wording.message,
        "type": wording.type,
        "param": None,
        "code": wording.code,
    }
    added = list(headers)
    if wording.tried:
        error["attempts"] = f"%DYNAMIC_METADATA({METADATA}:state:{TRIED})%"
        added.append(_header(ATTEMPTS, "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"))
    return ResponseMapper(
        filter=when,
        status_code=wording.status,
        body_format_override=SubstitutionFormatString(json_format=Struct.from_dict({"error": error})),
        headers_to_add=added,
    )


def _own() -> ResponseMapper:
    """The first mapper that fits wins, and this one changes nothing."""
    return ResponseMapper(filter=_details_start(LOCAL_DETAILS_PREFIX))


def _details_start(prefix: str) -> AccessLogFilter:
    expression = ExpressionFilter(expression=f"response.code_details.startsWith('{prefix}')")
    name = "envoy.access_loggers.extension_filters.cel"
    return AccessLogFilter(extension_filter=ExtensionFilter(name=name, typed_config=packed(expression)))


def _status(status: int) -> AccessLogFilter:
    return _compared(ComparisonFilterOp.EQ, status)


def _from(status: int) -> AccessLogFilter:
    return _compared(ComparisonFilterOp.GE, status)


def _compared(operator: ComparisonFilterOp, status: int) -> AccessLogFilter:
    # The key is obligatory; no runtime layer sets it.
    value = RuntimeUInt32(default_value=status, runtime_key=f"kortex.status.{status}")
    return AccessLogFilter(status_code_filter=StatusCodeFilter(comparison=ComparisonFilter(op=operator, value=value)))


def _header(
    name: str,
    value: str,
    action: HeaderValueOptionHeaderAppendAction = HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
) -> HeaderValueOption:
    return HeaderValueOption(header=HeaderValue(key=name, value=value), append_action=action)
