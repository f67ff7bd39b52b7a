"""One attempt's ext_proc stream: the provider's request out, its reply back in, and a clock for what stalls."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from extproc.admission.settlement import Reservation
from extproc.errors import InternalError, KortexError
from extproc.exchange.arrival import Answer
from extproc.exchange.attempt import Attempt, UpstreamHeaders, begin_attempt
from extproc.exchange.outcome import Outcome
from extproc.exchange.reply import Reply
from extproc.exchange.snapshot import Snapshot
from extproc.exchange.steps import Body, Head, Step
from extproc.exchange.verdict import Reason
from extproc.exchange.without_provider import WithoutProvider, answer_embedded, refuse, refuse_too_small
from extproc.headers import FAILOVER, REQUEST_ID, Headers
from extproc.openai.error_body import error_body
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.routing.target import Target
from extproc.server import messages
from extproc.server.seams import Context, Gate, Recorder

_LOG: Final = logging.getLogger(__name__)
_UNKNOWN_TARGET: Final = "This worker does not know the backend that Envoy reached for; their configs differ."


class AttemptStream:
    """Hosts one Attempt and its Reply. The clock is Unix time, which arrival's deadline is told in too."""

    def __init__(
        self, context: Context, recorder: Recorder, snapshot: Snapshot, target: Target | None, gate: Gate
    ) -> None:
        self._context = context
        self._gate = gate
        self._recorder = recorder
        self._snapshot = snapshot
        self._target = target
        self._headers = Headers()
        self._attempt: Attempt | None = None
        self._reply: Reply | None = None
        self._outcome: Outcome | None = None
        self._settled = self._took = False
        self._over = False
        self._silent = True
        """Before the answer begins, nothing can expire: see _wake."""
        self._grown: list[Reservation] = []
        self._last_event = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def serve(self) -> None:
        """Until Envoy ends the stream, or has been told all that it waits for."""
        try:
            while not self._over:
                self._took = False
                message = await self._context.read(silent=self._silent, take=self._take)
                if message is None:
                    return
                # Where it was taken while it was waited for, what is left is the budget's.
                if not (self._took or self._passes_piece(message)):
                    self._receive(ProcessingRequest.FromString(message))
                reply, attempt = self._reply, self._attempt
                if reply is not None and attempt is not None and (lacking := reply.lacking):
                    await self._stay_in_budget(reply, attempt, lacking)
        finally:
            self._close()

    def _take(self, message: bytes) -> bool:
        """Pass on a piece of the reply; whether that is all, so that ``serve`` need not hear of it."""
        self._took = self._passes_piece(message)
        return self._took and not (self._reply is not None and self._reply.lacking)

    def _passes_piece(self, message: bytes) -> bool:
        piece = messages.read_piece(message)
        if piece is None:
            return False
        self._on_piece(piece)
        return True

    async def _stay_in_budget(self, reply: Reply, attempt: Attempt, lacking: int) -> None:
        """A stream that says more than was reserved for it reserves more, or ends here."""
        price = attempt.target.price(attempt.model, at=attempt.started)
        more = await self._gate.extend(attempt.assignment.reservation, tokens=lacking, price=price)
        if more is not None:
            self._grown.append(more)
            reply.grant(lacking)
            return
        self._pass_on(reply, reply.refuse(time.time()))

    def _close(self) -> None:
        for reservation in self._grown:
            self._gate.give_back(reservation)
        if self._timer is not None:
            self._timer.cancel()
        if self._attempt is None:
            return
        if self._outcome is None:
            # Also the client that leaves before its body has come this far has had an attempt begun.
            reply = self._reply or Reply(self._attempt)
            reply.abandon(time.time(), sent=self._reply is not None)
            self._outcome = reply.outcome
        if self._outcome is not None:
            self._settle(self._outcome)
            self._recorder.ended(self._outcome, self._headers.get(REQUEST_ID))

    def _settle(self, outcome: Outcome) -> None:
        """Before a reply's end goes out, so that no client has what no record knows of."""
        if not self._settled:
            self._settled = True
            self._recorder.settled(outcome, self._headers.get(REQUEST_ID))

    def _receive(self, message: ProcessingRequest) -> None:
        match message.WhichOneof("request"):
            case "request_headers":
                self._on_request_headers(messages.read_headers(message.request_headers))
            case "request_body":
                self._on_request_body(message.request_body.body)
            case "response_headers":
                headers = messages.read_headers(message.response_headers)
                self._on_reply_headers(headers, end=message.response_headers.end_of_stream)
            case "response_body":
                self._on_reply_body(message.response_body.body, end=message.response_body.end_of_stream)
            case "response_trailers":
                self._on_reply_trailers()

    def _on_request_headers(self, headers: Headers) -> None:
        self._headers = headers
        now = time.time()
        try:
            if self._target is None:
                raise InternalError(_UNKNOWN_TARGET)
            attempt = begin_attempt(headers, self._target, started=now, trace_ratio=self._trace_ratio)
        except KortexError as error:
            # No plan was read, so it is not known whether another backend follows: Envoy will know.
            fields = (("content-type", "application/json"), (FAILOVER, Reason.GATEWAY.value))
            self._over = True
            answer = Answer(status=error.status, body=error_body(error), headers=fields)
            self._context.write(messages.immediate_reply(answer, error.code))
            return
        self._attempt = attempt
        self._recorder.begun(attempt, headers.get(REQUEST_ID))
        if attempt.needs_body:
            self._context.write(messages.ASK_FOR_BODY)
        else:
            self._context.write(self._send(attempt, b"", messages.upstream_reply_without_body))

    @property
    def _trace_ratio(self) -> float | None:
        tracing = self._snapshot.config.gateway.tracing
        return None if tracing is None else tracing.sampling

    def _on_request_body(self, body: bytes) -> None:
        if self._attempt is not None:
            self._context.write(self._send(self._attempt, body, messages.upstream_reply))

    def _send(self, attempt: Attempt, body: bytes, write: Callable[[UpstreamHeaders], bytes]) -> bytes:
        now = time.time()
        try:
            own = refuse_too_small(attempt, self._snapshot.config.backends, now=now)
            own = own or answer_embedded(attempt, body, now=now)
            if own is not None:
                return self._without_provider(own)
            upstream = attempt.encode(self._headers, body)
        except KortexError as error:
            return self._without_provider(refuse(attempt, error, now=now))
        except Exception:
            self._log_bug()
            return self._without_provider(refuse(attempt, None, now=now))
        self._reply = Reply(replace(attempt, dropped=upstream.dropped) if upstream.dropped else attempt)
        self._arm(attempt, now)
        return write(upstream)

    def _without_provider(self, result: WithoutProvider) -> bytes:
        self._outcome = result.outcome
        self._over = True
        self._settle(result.outcome)
        return messages.immediate_reply(result.answer, result.code)

    def _on_reply_headers(self, headers: Headers, *, end: bool) -> None:
        reply = self._reply
        if reply is None:
            # Envoy made the reply itself before our own turn came: it goes as it is.
            self._context.write(messages.CONTINUE_RESPONSE_HEADERS)
            return
        self._silent = False
        self._over = end
        self._pass_on(reply, self._steps(reply, lambda now: reply.headers(headers, end=end, now=now)))

    def _on_piece(self, data: bytes) -> None:
        """Of a reply's body, and not its last: mostly one event of a stream, which has a short way to its client."""
        reply, now = self._reply, time.time()
        if reply is not None and (repeated := reply.repeat(data)) is not None:
            self._last_event = now
            self._write_piece(reply, repeated)
            return
        if reply is None or not reply.streaming:
            self._on_reply_body(data, end=False)
            return
        self._last_event = now
        try:
            passed_on = reply.flow(data, now)
        except Exception:
            self._pass_on(reply, self._crash(reply, now))
            return
        if passed_on or reply.outcome is not None:
            self._write_piece(reply, passed_on)

    def _write_piece(self, reply: Reply, data: bytes) -> None:
        message = messages.event_reply(data) if reply.outcome is None else None
        if message is None:
            self._pass_on(reply, [Body(data=data, end=reply.outcome is not None)])
        else:
            self._context.write(message)

    def _on_reply_body(self, data: bytes, *, end: bool) -> None:
        reply = self._reply
        if reply is None:
            for message in messages.body_replies(Body(data=data, end=end)):
                self._context.write(message)
            return
        self._last_event, self._over = time.time(), end
        self._pass_on(reply, self._steps(reply, lambda now: reply.body(data, end=end, now=now)))

    def _on_reply_trailers(self) -> None:
        """The trailers end the reply, so its last bytes must not; nothing follows where it has ended already."""
        reply = self._reply
        if reply is not None:
            if reply.outcome is not None:
                return
            steps = self._steps(reply, lambda now: reply.body(b"", end=True, now=now))
            self._over = True
            open_ended = [Body(data=step.data, end=False) if isinstance(step, Body) else step for step in steps]
            self._pass_on(reply, open_ended)
        self._context.write(messages.CONTINUE_TRAILERS)

    def _steps(self, reply: Reply, feed: Callable[[float], list[Step]]) -> list[Step]:
        now = time.time()
        try:
            return feed(now)
        except Exception:
            return self._crash(reply, now)

    def _crash(self, reply: Reply, now: float) -> list[Step]:
        """A bug in decoding ends the reply with an error, like a provider's failure: never with a hang."""
        self._log_bug()
        return reply.crash(now)

    def _pass_on(self, reply: Reply, steps: Sequence[Step]) -> None:
        if reply.outcome is not None:
            self._settle(reply.outcome)
        for step in steps:
            if isinstance(step, Head):
                self._context.write(messages.head_reply(step))
                continue
            for message in messages.body_replies(step):
                self._context.write(message)

    def _arm(self, attempt: Attempt, now: float) -> None:
        """Wake up when idle limit or deadline could next be reached; an event in between moves only the note."""
        self._last_event = now
        self._timer = asyncio.get_running_loop().call_later(self._sleep(attempt, now), self._wake, attempt)

    def _sleep(self, attempt: Attempt, now: float) -> float:
        idle_ends = self._last_event + attempt.assignment.idle_ms / 1_000
        if self._reply is None or not self._reply.streaming:
            # Until the answer begins, the edge's per-try timeout is the limit; look again when it could have begun.
            idle_ends = now + attempt.assignment.idle_ms / 1_000
        deadline = attempt.assignment.deadline_ms
        return (idle_ends if deadline is None else min(idle_ends, deadline / 1_000)) - now

    def _wake(self, attempt: Attempt) -> None:
        reply, now = self._reply, time.time()
        if reply is None or reply.outcome is not None:
            return
        deadline = attempt.assignment.deadline_ms
        if deadline is not None and now * 1_000 >= deadline and reply.has_headers:
            self._expire(reply, Reason.DEADLINE)
        elif reply.streaming and now - self._last_event >= attempt.assignment.idle_ms / 1_000:
            self._expire(reply, Reason.IDLE)
        else:
            wait = max(self._sleep(attempt, now), 0.01)
            self._timer = asyncio.get_running_loop().call_later(wait, self._wake, attempt)

    def _expire(self, reply: Reply, reason: Reason) -> None:
        self._pass_on(reply, reply.expire(reason, time.time()))

    def _log_bug(self) -> None:
        _LOG.exception("attempt failed", extra={"request_id": self._headers.get(REQUEST_ID)})
