"""Envoy's ext_proc messages from and to our values; nothing outside this file and stream.py knows protobuf.

https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/service/ext_proc/v3/external_processor.proto
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from google.protobuf.any_pb2 import Any as AnyMessage

from extproc.admission.settlement import Reservation
from extproc.exchange.arrival import Answer, Planned
from extproc.exchange.attempt import UpstreamHeaders
from extproc.exchange.steps import Body, Head
from extproc.exchange.trace import TRACEPARENT
from extproc.exchange.verdict import Reason
from extproc.headers import ASSIGNMENT, COST, DECISION, OUTCOME, TRAIL, UPSTREAM_REQUEST_ID, USAGE, Headers
from extproc.pb.ext_proc_pb2 import (
    HeaderMutation,
    HeaderValueOption,
    HttpHeaders,
    ProcessingMode,
    ProcessingRequest,
    ProcessingResponse,
)
from extproc.pb.priority_group_pb2 import PriorityGroupsOverride

SERVICE: Final = "envoy.service.ext_proc.v3.ExternalProcessor"
PLAN_NAMESPACE: Final = "kortex.plan"
ATTEMPTS_NAMESPACE: Final = "kortex.attempts"
DETAILS_PREFIX: Final = "kortex_"
"""Begins the response code details of every reply of ours: Envoy's rewriting of local replies leaves those alone."""

_PLAN_TYPE: Final = (
    "type.googleapis.com/envoy.extensions.router.cluster_specifiers.priority_group.v3.PriorityGroupsOverride"
)
_OVERWRITE: Final = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
# Envoy asks for at most 64 KiB a message in full-duplex mode.
_LONGEST_PIECE: Final = 64 << 10
_LONGEST_EVENT: Final = 4 << 10
"""Bytes of a message or a piece whose framing is remembered, by its length, as that of a stream's events is."""
_BEFORE_PIECE: Final[list[bytes | None]] = [None] * (_LONGEST_EVENT + 1)
_BEFORE_BODY: Final[list[bytes | None]] = [None] * (_LONGEST_EVENT + 1)
"""That framing, once it was written: in lists, of which a look-up reads less memory than of a cache."""
_NEVER: Final = b"\xff"
"""Begins no message."""
_NO_METADATA: Final = b"B\x00"
"""Ends each of Envoy's messages: an empty ``metadata_context``."""
_KNOWN_PLANS: Final = 16_384
_KNOWN_MUTATIONS: Final = 1_024
_LONGEST_KNOWN: Final = 4_096
"""Characters of names of headers to remove, which are the other side's to make up."""
_DIFFERING: Final = frozenset(
    {
        *(ASSIGNMENT, TRAIL, OUTCOME, UPSTREAM_REQUEST_ID, USAGE, COST, DECISION, TRACEPARENT, "content-length"),
        *(f"x-ratelimit-{what}-{unit}" for what in ("remaining", "reset") for unit in ("requests", "tokens")),
    }
)
"""Headers of which nearly every message has a value of its own."""

_Part: TypeAlias = Literal["request_headers", "request_body", "response_headers"]
_Fields: TypeAlias = tuple[tuple[str, str | bytes], ...]


def _serialized(response: ProcessingResponse) -> bytes:
    return response.SerializeToString()


CONTINUE_HEADERS: Final = _serialized(ProcessingResponse(request_headers={}))
# The attempt stage sees the reply in pieces as they arrive. Envoy takes a change of mode only where the configured mode
# is not full duplex already, so that every attempt asks for it.
_WITHOUT_BODY: Final = ProcessingMode(
    request_header_mode=ProcessingMode.SEND,
    response_header_mode=ProcessingMode.SEND,
    request_body_mode=ProcessingMode.NONE,
    response_body_mode=ProcessingMode.FULL_DUPLEX_STREAMED,
    request_trailer_mode=ProcessingMode.SKIP,
    response_trailer_mode=ProcessingMode.SEND,
)
_WITH_BODY: Final = ProcessingMode()
_WITH_BODY.CopyFrom(_WITHOUT_BODY)
_WITH_BODY.request_body_mode = ProcessingMode.BUFFERED
ASK_FOR_BODY: Final = _serialized(ProcessingResponse(request_headers={}, mode_override=_WITH_BODY))
CONTINUE_RESPONSE_HEADERS: Final = _serialized(ProcessingResponse(response_headers={}))
CONTINUE_TRAILERS: Final = _serialized(ProcessingResponse(response_trailers={}))


def read_headers(message: HttpHeaders) -> Headers:
    """Envoy sends values as bytes; a value that is no UTF-8 survives the way there and back."""
    # Every request has some 60 headers, and each read of a protobuf field costs: a list, and each field once.
    return Headers.of_lower_case(
        [
            (header.key, raw.decode("utf-8", "surrogateescape") if (raw := header.raw_value) else header.value)
            for header in message.headers.headers
        ]
    )


def read_piece(message: bytes) -> bytes | None:
    """What protobuf would read of a piece of a reply's body that is not its last; None for every other message.

    A stream's event comes alone, to a worker that has slept: whatever code it needs comes from the main memory, and a
    comparison needs less of that than protobuf does.
    """
    length = len(message)
    if length > _LONGEST_EVENT:
        return None
    before = _BEFORE_PIECE[length]
    if before is None:
        before = _BEFORE_PIECE[length] = _before_piece(length) or _NEVER
    if not message.startswith(before) or not message.endswith(_NO_METADATA):
        return None
    return message[len(before) : -len(_NO_METADATA)]


def _before_piece(length: int) -> bytes | None:
    """How a message of this length begins that has a piece and no more; None where no piece makes it so long."""
    for size in range(max(length - 8, 1), length):
        message = ProcessingRequest(response_body={"body": bytes(size)}).SerializeToString() + _NO_METADATA
        if len(message) == length:
            return message[: length - len(_NO_METADATA) - size]
    return None


def _set_headers(mutation: HeaderMutation, fields: Iterable[tuple[str, str | bytes]]) -> None:
    for name, value in fields:
        option = mutation.set_headers.add()
        option.header.key = name
        option.header.raw_value = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
        option.append_action = _OVERWRITE


def _written_mutation(part: _Part, fields: _Fields, removed: tuple[str, ...]) -> bytes:
    response = ProcessingResponse()
    mutation: HeaderMutation = getattr(response, part).response.header_mutation
    _set_headers(mutation, fields)
    mutation.remove_headers.extend(removed)
    return _serialized(response)


_known_mutation: Final = lru_cache(maxsize=_KNOWN_MUTATIONS)(_written_mutation)


def _mutated(response: ProcessingResponse, part: _Part, fields: _Fields, removed: tuple[str, ...]) -> bytes:
    """The reply with a change of headers; what many requests share of that is written once, and joined to the rest.

    Protobuf merges what is concatenated: https://protobuf.dev/programming-guides/encoding/#last-one-wins
    """
    mutation: HeaderMutation = getattr(response, part).response.header_mutation
    _set_headers(mutation, [field for field in fields if field[0] in _DIFFERING])
    shared = tuple([field for field in fields if field[0] not in _DIFFERING])
    write = _known_mutation if sum(map(len, removed)) <= _LONGEST_KNOWN else _written_mutation
    return _serialized(response) + write(part, shared, removed)


@lru_cache(maxsize=_KNOWN_PLANS)
def _plan(targets: tuple[str, ...], first: str) -> bytes:
    """The part of the reply that is the same for every request with this plan; protobuf merges what is concatenated."""
    override = PriorityGroupsOverride()
    for name in targets:
        cluster = override.priority_groups.add(name=name).clusters.add(cluster_name=name)
        cluster.weight.value = 1
    plan = AnyMessage(type_url=_PLAN_TYPE, value=override.SerializeToString())
    response = ProcessingResponse(typed_dynamic_metadata={PLAN_NAMESPACE: plan})
    # The first attempt, as extproc.bootstrap.trail_filter notes those that follow: if it is heard of no more, it has
    # used up its time.
    attempt = {"backend": first, "outcome": Reason.TIMEOUT.value}
    response.dynamic_metadata.update({ATTEMPTS_NAMESPACE: {"state": {"tried": [attempt]}}})
    return _serialized(response)


def planned_reply(planned: Planned, reservation: Reservation | None) -> bytes:
    """The plan as typed metadata. The route is chosen anew only because a header changes in the same reply."""
    response = ProcessingResponse()
    response.request_body.response.clear_route_cache = True
    told = _mutated(response, "request_body", planned.holding(reservation), planned.remove_headers)
    return told + _plan(planned.targets, planned.backends[0])


def upstream_reply(upstream: UpstreamHeaders) -> bytes:
    """In reply to the body: the provider's headers and, where it differs, the body with its length."""
    response = ProcessingResponse()
    if upstream.body is not None:
        response.request_body.response.body_mutation.body = upstream.body
    return _mutated(response, "request_body", upstream.set_headers, upstream.remove_headers)


def upstream_reply_without_body(upstream: UpstreamHeaders) -> bytes:
    """In reply to the headers: the client's body goes on as it is, and is not sent here."""
    response = ProcessingResponse(mode_override=_WITHOUT_BODY)
    return _mutated(response, "request_headers", upstream.set_headers, upstream.remove_headers)


def immediate_reply(answer: Answer, code: str | None) -> bytes:
    """A reply of our own in place of the provider's."""
    response = ProcessingResponse()
    immediate = response.immediate_response
    immediate.status.code = answer.status
    immediate.body = answer.body
    immediate.details = f"{DETAILS_PREFIX}{code or 'reply'}"
    _set_headers(immediate.headers, answer.headers)
    return _serialized(response)


def head_reply(head: Head) -> bytes:
    """The held headers of a reply, as the client is to see them."""
    fields = ((":status", str(head.status)), *head.set_headers)
    return _mutated(ProcessingResponse(), "response_headers", fields, head.remove_headers)


def body_replies(body: Body) -> list[bytes]:
    """A piece of a reply's body, in messages that Envoy likes the size of."""
    last = max(len(body.data) - 1, 0) // _LONGEST_PIECE
    return [
        _body_message(body.data[index * _LONGEST_PIECE : (index + 1) * _LONGEST_PIECE], end=body.end and index == last)
        for index in range(last + 1)
    ]


def event_reply(data: bytes) -> bytes | None:
    """The same of a short piece that does not end the reply, without protobuf; None of a longer one."""
    size = len(data)
    if size > _LONGEST_EVENT:
        return None
    before = _BEFORE_BODY[size]
    if before is None:
        before = _BEFORE_BODY[size] = _before_body(size)
    return before + data


def _body_message(data: bytes, *, end: bool) -> bytes:
    response = ProcessingResponse()
    streamed = response.response_body.response.body_mutation.streamed_response
    streamed.body = data
    streamed.end_of_stream = end
    return _serialized(response)


def _before_body(size: int) -> bytes:
    """A piece of this size that does not end the reply comes last in its message; what comes before it."""
    message = _body_message(bytes(size), end=False)
    return message[: len(message) - size]
