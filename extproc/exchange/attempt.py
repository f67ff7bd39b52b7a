"""Attempt, once per try: write the client's request for one backend. The reply is ``extproc.exchange.reply``'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from extproc.config.backends import Backend
from extproc.dialects.base import ClientReply, Translator
from extproc.errors import InternalError, UnsupportedFeature
from extproc.exchange.assignment import Assignment, read_assignment
from extproc.exchange.trace import TRACEPARENT, TRACESTATE, Trace, continue_trace
from extproc.exchange.trail import read_trail
from extproc.exchange.verdict import Reason
from extproc.headers import ASSIGNMENT, BROKEN_OFF, ENVOY_ATTEMPT_COUNT, ENVOY_MAX_RETRIES, TRAIL, Headers
from extproc.openai.error_body import AttemptSummary
from extproc.routing.target import Target

# What a provider may see of the client's request headers, beside the backend's forwardHeaders. Everything else stays
# here: credentials and cookies above all, but also addresses and whatever else a client's platform adds.
FORWARDED: Final = frozenset(
    {
        "content-type",
        "content-length",
        "transfer-encoding",
        "user-agent",
        "x-request-id",
        TRACEPARENT,
        TRACESTATE,
        "idempotency-key",
        "openai-beta",
    }
)
_WITHOUT_STATE: Final = FORWARDED - {TRACESTATE}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamHeaders:
    """The change from the client's request to the provider's; ``body`` None leaves the client's bytes."""

    set_headers: tuple[tuple[str, str], ...]
    remove_headers: tuple[str, ...]
    body: bytes | None
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at one target. ``started`` is the clock's reading when it began, in seconds."""

    target: Target
    assignment: Assignment
    translator: Translator
    number: int
    before: tuple[AttemptSummary, ...]
    started: float
    dropped: tuple[str, ...] = ()
    """Names of the client's parameters that the provider was not sent; known when the request is written."""
    trace: Trace | None = None
    """None where the gateway keeps no traces: the client's own headers go on as they are."""
    broken_off: str | None = None
    """The backend tried before, where that attempt lost its connection without a word. Its own stream cannot tell that

    from a client who leaves; that somebody else is asked can.
    """

    @property
    def model(self) -> str:
        """The provider's name for the model."""
        return self.target.model(self.assignment.model)

    @property
    def last(self) -> bool:
        """Whether no other backend follows in the plan."""
        return self.number >= len(self.assignment.plan)

    def too_small(self, backends: Mapping[str, Backend]) -> bool:
        """Whether this model is known to hold less than one before it, for which the prompt was too long."""
        own = self.target.settings.context_window
        if own is None:
            return False
        overflowed = (backends.get(past.backend) for past in self.before if past.outcome == Reason.CONTEXT_LENGTH)
        return any(backend is not None and own < (backend.context_window or 0) for backend in overflowed)

    @property
    def _begins_trace(self) -> bool:
        """Whether the trace is ours, so that a state of the client's would belong to another."""
        return self.trace is not None and self.trace.parent is None

    @property
    def needs_body(self) -> bool:
        """Whether the client's body is needed to write this backend's request."""
        if self.target.provider.answer is not None or self.assignment.stretches:
            return True
        return self.translator.rewrites(self.assignment.call(b""), self.model)

    def answer(self, body: bytes) -> ClientReply | None:
        """The reply of a provider that is part of the gateway; None for all others. Raises ClientError."""
        answer = self.target.provider.answer
        return None if answer is None else answer(self.assignment.call(body), self.model)

    def encode(self, headers: Headers, body: bytes) -> UpstreamHeaders:
        """The provider's request. Raises CredentialUnavailable, UnsupportedFeature and what the dialect refuses."""
        settings = self.target.settings
        call = self.assignment.call(body)
        request = self.translator.encode(call, self.model)
        if request.body is None and call.body != body:
            request = replace(request, body=call.body)
        if request.dropped and self.assignment.strict:
            message = f"The backend '{self.target.backend}' lacks {', '.join(request.dropped)}."
            raise UnsupportedFeature(message, param=request.dropped[0])
        own = {name for name, _ in request.headers}
        accepted = "text/event-stream" if call.stream else "application/json"
        fields = [
            (":path", self.target.provider.path(settings, call, self.model)),
            (":authority", self.target.authority),
            *(() if "accept" in own else (("accept", accepted),)),
            ("accept-encoding", "identity"),
            ("content-type", "application/json"),
            (ENVOY_MAX_RETRIES, str(self.assignment.retries)),
            *_joined(*request.headers, *self.target.provider.authorize(settings, self.target.credential())),
        ]
        if request.body is not None:
            fields.append(("content-length", str(len(request.body))))
        if self.trace is not None:
            fields.append((TRACEPARENT, self.trace.traceparent(self.number)))
        written = {name for name, _ in fields}
        forwarded = settings.forward_headers
        kept = _WITHOUT_STATE if self._begins_trace else FORWARDED
        removed = tuple(
            [
                name
                for name in headers
                if name not in kept and name not in written and name not in forwarded and name[0] != ":"
            ]
        )
        return UpstreamHeaders(
            set_headers=tuple(fields), remove_headers=removed, body=request.body, dropped=request.dropped
        )


def _joined(*fields: tuple[str, str]) -> list[tuple[str, str]]:
    """One line for each name, such as the betas of the config and of the request (RFC 9110, 5.3)."""
    return list(Headers(fields).items())


def begin_attempt(headers: Headers, target: Target, *, started: float, trace_ratio: float | None = None) -> Attempt:
    """Read what arrival and the attempts before have left. Raises InternalError.

    ``trace_ratio`` is the share of clients' untraced requests that get a trace; None where there are no traces.
    """
    assignment = read_assignment(headers.get(ASSIGNMENT))
    translator = target.translator(assignment.operation, assignment.model)
    if translator is None:
        message = f"The backend '{target.backend}' was planned for an operation it does not have."
        raise InternalError(message)
    count = headers.get(ENVOY_ATTEMPT_COUNT, "1")
    return Attempt(
        target=target,
        assignment=assignment,
        translator=translator,
        number=int(count) if count.isdigit() else 1,
        before=read_trail(headers.get(TRAIL)),
        broken_off=headers.get(BROKEN_OFF),
        started=started,
        trace=None
        if trace_ratio is None
        else continue_trace(headers.get(TRACEPARENT), exchange=assignment.exchange, ratio=trace_ratio),
    )
