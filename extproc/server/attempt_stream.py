"""One attempt's ext_proc stream: the provider's request out, its reply back in, and a clock for what stalls."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

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
from extproc.server.seams import Context, Gate, Recorder, next_message

_LOG: Final = logging.getLogger(__name__)
_UNKNOWN_TARGET: Final = "This worker does not know the backend that Envoy reached for; their configs differ."
_Feed: TypeAlias = Callable[[float], list[Step]]


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
        self._settled = False
        self._over = False
        self._grown: list[Reservation] = []
        self._last_event = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def serve(self) -> None:
        """Until Envoy ends the stream, or has been told all that it waits for."""
        try:
            while not self._over:
                # Before the answer begins, nothing can expire: see _wake.
                silent = self._reply is None or not self._reply.has_headers
                message = await next_message(self._context, silent=silent)
                if message is None:
                    return
                replies = self._replies(message)
                self._settle()
                for reply in replies:
                    self._context.write(reply)
                await self._stay_in_budget()
        finally:
            self._close()

    async def _stay_in_budget(self) -> None:
        """A stream that says more than was reserved for it reserves more, or ends here."""
        reply, attempt = self._reply, self._attempt
        if reply is None or attempt is None:
            return
        lacking = reply.lacking
        if not lacking:
            return
        price = attempt.target.price(attempt.model, at=attempt.started)
        more = await self._gate.extend(attempt.assignment.reservation, tokens=lacking, price=price)
        if more is not None:
            self._grown.append(more)
            reply.grant(lacking)
            return
        for message in self._write(reply.refuse(time.time())):
            self._context.write(message)

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
            self._settle()
            self._recorder.ended(self._outcome, self._headers.get(REQUEST_ID))

    def _settle(self) -> None:
        """Before a reply's end goes out, so that no client has what no record knows of."""
        outcome = self._outcome or (None if self._reply is None else self._reply.outcome)
        if outcome is not None and not self._settled:
            self._settled = True
            self._recorder.settled(outcome, self._headers.get(REQUEST_ID))

    def _replies(self, message: ProcessingRequest) -> Sequence[bytes]:
        match message.WhichOneof("request"):
            case "request_headers":
                return (self._on_request_headers(messages.read_headers(message.request_headers)),)
            case "request_body":
                return self._on_request_body(message.request_body.body)
            case "response_headers":
                headers = messages.read_headers(message.response_headers)
                return self._on_reply_headers(headers, end=message.response_headers.end_of_stream)
            case "response_body":
                return self._on_reply_body(message.response_body.body, end=message.response_body.end_of_stream)
            case "response_trailers":
                return self._on_reply_trailers()
            case _:
                return ()

    def _on_request_headers(self, headers: Headers) -> bytes:
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
            return messages.immediate_reply(answer, error.code)
        self._attempt = attempt
        self._recorder.begun(attempt)
        if attempt.needs_body:
            return messages.ASK_FOR_BODY
        return self._send(attempt, b"", messages.upstream_reply_without_body)

    @property
    def _trace_ratio(self) -> float | None:
        tracing = self._snapshot.config.gateway.tracing
        return None if tracing is None else tracing.sampling

    def _on_request_body(self, body: bytes) -> Sequence[bytes]:
        if self._attempt is None:
            return ()
        return (self._send(self._attempt, body, messages.upstream_reply),)

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
        return messages.immediate_reply(result.answer, result.code)

    def _on_reply_headers(self, headers: Headers, *, end: bool) -> Sequence[bytes]:
        reply = self._reply
        if reply is None:
            # Envoy made the reply itself before our own turn came: it goes as it is.
            return (messages.CONTINUE_RESPONSE_HEADERS,)
        self._over = end
        return self._write(self._guard(reply, lambda now: reply.headers(headers, end=end, now=now)))

    def _on_reply_body(self, data: bytes, *, end: bool) -> Sequence[bytes]:
        reply = self._reply
        if reply is None:
            return tuple(messages.body_replies(Body(data=data, end=end)))
        self._last_event, self._over = time.time(), end
        return self._write(self._guard(reply, lambda now: reply.body(data, end=end, now=now)))

    def _on_reply_trailers(self) -> Sequence[bytes]:
        """The trailers end the reply, so its last bytes must not; nothing follows where it has ended already."""
        reply = self._reply
        if reply is None:
            return (messages.CONTINUE_TRAILERS,)
        if reply.outcome is not None:
            return ()
        steps = self._guard(reply, lambda now: reply.body(b"", end=True, now=now))
        open_ended = [Body(data=step.data, end=False) if isinstance(step, Body) else step for step in steps]
        self._over = True
        return (*self._write(open_ended), messages.CONTINUE_TRAILERS)

    def _guard(self, reply: Reply, feed: _Feed) -> list[Step]:
        """A bug in decoding ends the reply with an error, like a provider's failure: never with a hang."""
        now = time.time()
        try:
            return feed(now)
        except Exception:
            self._log_bug()
            return reply.crash(now)

    def _write(self, steps: Sequence[Step]) -> tuple[bytes, ...]:
        return tuple(self._serialize(steps))

    def _serialize(self, steps: Sequence[Step]) -> Iterator[bytes]:
        for step in steps:
            if isinstance(step, Head):
                yield messages.head_reply(step)
            else:
                yield from messages.body_replies(step)

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
        expired = self._write(reply.expire(reason, time.time()))
        self._settle()
        for message in expired:
            self._context.write(message)

    def _log_bug(self) -> None:
        _LOG.exception("attempt failed", extra={"request_id": self._headers.get(REQUEST_ID)})
