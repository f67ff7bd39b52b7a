"""The reply of one attempt, decoded as it arrives: headers are held until it is known that there is an answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from extproc.dialects.base import GarbledReply, StreamTranslator, UpstreamReply
from extproc.errors import UpstreamError
from extproc.exchange.allowance import Allowance, is_ended, last_words
from extproc.exchange.attempt import Attempt
from extproc.exchange.bill import NO_BILL, Bill, beside_usage, bill_fragment, bill_reply, bill_stream
from extproc.exchange.failure import broken, broken_stream, final_error, local_failure, redact, redirected
from extproc.exchange.heads import answer_head, attempt_headers, failed_head
from extproc.exchange.outcome import Outcome, conclude
from extproc.exchange.own_headers import upstream_request_id
from extproc.exchange.reply_kind import framer_for, is_document, is_event_stream
from extproc.exchange.steps import Body, Step
from extproc.exchange.trail import ANSWERED, CLOCKS_DIFFER_MS
from extproc.exchange.verdict import Reason, Verdict, judge, judge_reason
from extproc.framing.base import Framer, FramingError
from extproc.framing.content_encoding import Decoder, DecodingError, decoder_for
from extproc.framing.sse import Event
from extproc.headers import ENVOY_ATTEMPT_COUNT, LOCAL_REPLY, Headers
from extproc.openai.alike import Alike
from extproc.openai.call import Call
from extproc.openai.error_body import AttemptSummary, error_body, error_event

_LONGEST_WHOLE_REPLY: Final = 256 << 20
_OK: Final = 200
_FIRST_FAILURE: Final = 300
_FIRST_ERROR: Final = 400
_A_MOMENT: Final = 0.1
_CUT: Final = 502
"""What Envoy answers where a connection broke off before anything of the reply had gone on."""


class Reply:
    """One attempt's reply. Feed it what arrives, in order, with the clock's seconds; it gives what may go on.

    Nothing is given while the answer is still in doubt, so that the next backend can be tried. When it has ended,
    ``outcome`` says how.
    """

    __slots__ = (
        *("_alike", "_allowance", "_attempt", "_call", "_chunks", "_decoder", "_framer", "_head", "_headers_at"),
        *("_held", "_last", "_model", "_released", "_stream", "first_event_at", "outcome"),
    )

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._call: Call
        self._head = Headers()
        self._headers_at = 0.0
        self._decoder: Decoder | None = None
        self._framer: Framer[Event] | None = None
        self._stream: StreamTranslator | None = None
        self._chunks: list[bytes] = []
        self._held = b""
        self._last = b""
        granted = attempt.assignment.reservation.output
        self._allowance = None if granted is None else Allowance(attempt, granted)
        self._model: str | None = None
        self._alike: Alike | None = None
        self._released = False
        self.first_event_at: float | None = None
        self.outcome: Outcome | None = None

    @property
    def streaming(self) -> bool:
        """Whether the client has the beginning of a stream, and not its end."""
        return self._released and self._stream is not None and self.outcome is None

    def headers(self, headers: Headers, *, end: bool, now: float) -> list[Step]:
        """The reply's headers; they are held."""
        self._head = headers
        self._headers_at = now
        self._call = replace(
            self._attempt.assignment.call(b"{}"),
            upstream_model=self._attempt.model,
            reply_id=upstream_request_id(headers) or "",
        )
        try:
            self._decoder = decoder_for(headers.get("content-encoding", ""), limit=_LONGEST_WHOLE_REPLY)
        except DecodingError as error:
            return self._fail(GarbledReply(str(error)), now)
        if self._call.stream and _OK <= self._status < _FIRST_FAILURE and not is_document(headers):
            self._decoder = decoder_for(headers.get("content-encoding", ""), limit=None)
            self._framer = framer_for(headers)
            self._stream = self._attempt.translator.stream(self._call)
            self._stream.state.beside_usage = beside_usage(self._attempt, self._stream.state)
        return self.body(b"", end=True, now=now) if end else []

    def body(self, data: bytes, *, end: bool, now: float) -> list[Step]:
        """A piece of the body. Whatever comes after the reply has ended is ignored."""
        if self.outcome is not None or self._decoder is None:
            return []
        if self._stream is not None:
            return self._stream_body(self._stream, data, end=end, now=now)
        try:
            self._chunks.append(self._decoder.feed(data))
            if end:
                self._decoder.close()
        except DecodingError as error:
            return self._fail(GarbledReply(str(error)), now)
        return self._whole(now) if end else []

    def flow(self, data: bytes, now: float) -> bytes:
        """``body`` for a piece that does not end a reply which is ``streaming``: all that it gives then is bytes.

        They are the client's last ones where there is an ``outcome`` after it.
        """
        if self._stream is None:
            return b""
        passed_on, error = self._translate(self._stream, data)
        if error is None:
            return passed_on
        return passed_on + b"".join([step.data for step in self._fail(error, now) if isinstance(step, Body)])

    def repeat(self, data: bytes) -> bytes | None:
        """The same where it is an event like those before it, as nearly all are; None of all that has to be read."""
        stream, alike = self._stream, self._alike
        read = None if alike is None or stream is None else alike.read(data)
        if read is None or stream is None:
            return None
        text, self._last = read
        state = stream.state
        state.events += 1
        state.produced.add(text)
        return self._last

    def expire(self, reason: Reason, now: float) -> list[Step]:
        """Time is up (``IDLE`` or ``DEADLINE``): end what has begun, or refuse what has not."""
        if self.outcome is not None:
            return []
        return self._fail(broken_stream(reason, self._attempt.target.backend), now, reason=reason)

    @property
    def lacking(self) -> int:
        """Tokens that the answer needs beyond those its budgets have granted, before it may go on; 0 for none."""
        if self._allowance is None or self._stream is None or self.outcome is not None:
            return 0
        return self._allowance.lacking(self._stream.state)

    def grant(self, tokens: int) -> None:
        """So many more may follow."""
        if self._allowance is not None:
            self._allowance.grant(tokens)

    def refuse(self, now: float) -> list[Step]:
        """A budget has no more. An answer that has said all it was granted ends as one that reached its limit,

        unless it has said its end already.
        """
        if self._allowance is None or not self._allowance.refuse():
            return []
        if self.outcome is not None or self._stream is None or not self._released:
            return []
        state = self._stream.state
        if is_ended(self._last, state):
            return []
        bill = bill_stream(self._attempt, state, complete=False, answered=True)
        self._conclude(now, status=_OK, bill=bill, final=True)
        return [Body(data=last_words(self._call, self._last, state, bill), end=True)]

    def crash(self, now: float) -> list[Step]:
        """A bug in decoding, whose traceback is in the log: the client gets an error, or the next backend its turn."""
        if self.outcome is not None:
            return []
        bug = broken()
        error = UpstreamError(bug.message, status=bug.status, type=bug.type, code=bug.code)
        return self._fail(error, now, reason=Reason.GATEWAY)

    @property
    def has_headers(self) -> bool:
        """Whether the provider has begun to reply, so that there is something to answer in place of."""
        return bool(self._head)

    def abandon(self, now: float, *, sent: bool = True) -> None:
        """The attempt's stream ended without a word: its time to begin ran out, or the client or the provider left.

        ``sent``: whether the provider had been given the request.
        """
        if self.outcome is not None:
            return
        if self._stream is not None and self._is_told:
            self._finish(self._stream, b"", now)
            return
        bill = self._unfinished() if sent else NO_BILL
        elapsed_ms = (now - self._attempt.started) * 1_000
        if self._released:
            self._conclude(now, status=_OK, verdict=judge_reason(Reason.INTERRUPTED), final=True, bill=bill)
        elif elapsed_ms + CLOCKS_DIFFER_MS >= self._attempt.assignment.try_ms:
            self._conclude(now, status=None, verdict=judge_reason(Reason.TIMEOUT), final=self._attempt.last, bill=bill)
        elif self._is_under_way(now):
            verdict, last = judge_reason(Reason.RESET), self._attempt.last
            status = _CUT if last else None
            self._conclude(now, status=status, verdict=verdict, final=last, bill=bill, abandoned=True)
        elif self.has_headers:
            # The provider cut its reply short, and the edge asks the next backend; or the client left while it waited.
            verdict = judge_reason(Reason.INTERRUPTED)
            self._conclude(now, status=None, verdict=verdict, final=self._attempt.last, bill=bill, abandoned=True)
        else:
            self._conclude(now, status=None, verdict=judge_reason(Reason.CLIENT_GONE), final=True, bill=bill)

    def _is_under_way(self, now: float) -> bool:
        """Whether a whole answer has begun to come, or its headers a moment ago: hardly a client leaves just then.

        It is made before it is sent. Some providers send their headers and white space at once, and then think.
        """
        if not self.has_headers or self._stream is not None:
            return False
        return any(map(bytes.strip, self._chunks)) or now - self._headers_at < _A_MOMENT

    @property
    def _is_told(self) -> bool:
        """Whether the client has the whole answer, its end and its bill: what follows changes none of them."""
        return self.streaming and self._stream is not None and self._stream.state.complete

    def _unfinished(self) -> Bill:
        """Of an attempt that breaks off here. A provider that has answered with a failure has not been at work."""
        if self.has_headers and not _OK <= self._status < _FIRST_FAILURE:
            return NO_BILL
        if self._stream is not None:
            return bill_stream(self._attempt, self._stream.state, complete=False)
        return bill_fragment(self._attempt, b"".join(self._chunks))

    def _failed(self, reason: Reason, *, told: bool) -> Bill:
        """Of an attempt whose answer had not begun. ``told``: by the provider, who bills no refusals."""
        if self._head.get(LOCAL_REPLY) is not None:
            return bill_fragment(self._attempt, b"") if reason is Reason.TIMEOUT else NO_BILL
        return NO_BILL if told and reason is not Reason.GARBLED else self._unfinished()

    @property
    def _status(self) -> int:
        text = self._head.get(":status", "")
        return int(text) if text.isdigit() else 0

    @property
    def _served_model(self) -> str | None:
        return self._model if self._stream is None else self._stream.state.model

    def _whole(self, now: float) -> list[Step]:
        local = self._head.get(LOCAL_REPLY)
        if local is not None:
            error, reason = local_failure(local, self._attempt.target.backend)
            return self._fail(error, now, reason=reason)
        self._chunks = [b"".join(self._chunks)]
        reply = UpstreamReply(status=self._status, headers=self._head, body=self._chunks[0])
        try:
            if _FIRST_FAILURE <= self._status < _FIRST_ERROR:
                raise redirected(self._status, self._attempt.target.backend)
            if not _OK <= self._status < _FIRST_FAILURE:
                raise self._attempt.translator.decode_error(reply)
            answer = self._attempt.translator.decode(reply, self._call)
            if self._call.stream:
                message = "The provider answered a streamed call without streaming."
                raise GarbledReply(message)
        except UpstreamError as error:
            return self._fail(error, now)
        self.first_event_at = now
        bill = bill_reply(self._attempt, answer)
        head = answer_head(
            self._attempt, self._head, self._status, (("content-length", str(len(answer.body))), *bill.headers)
        )
        self._model = answer.model
        self._conclude(now, status=self._status, bill=bill, final=True)
        return [head, Body(data=answer.body, end=True)]

    def _stream_body(self, stream: StreamTranslator, data: bytes, *, end: bool, now: float) -> list[Step]:
        passed_on, error = self._translate(stream, data, end=end)
        if error is not None:
            return self._release(stream, passed_on, now) + self._fail(error, now)
        if end and not stream.state.complete:
            steps = self._release(stream, passed_on, now)
            cut = broken_stream(Reason.TRUNCATED, self._attempt.target.backend)
            return steps + self._fail(cut, now, reason=Reason.TRUNCATED)
        return self._finish(stream, passed_on, now) if end else self._release(stream, passed_on, now)

    def _translate(
        self, stream: StreamTranslator, data: bytes, *, end: bool = False
    ) -> tuple[bytes, UpstreamError | None]:
        """The client's bytes for the provider's, and what went wrong after them."""
        decoder, framer = self._decoder, self._framer
        if decoder is None or framer is None:
            return b"", None
        out: list[bytes] = []
        try:
            plain = decoder.feed(data)
            if end:
                decoder.close()
            for event in framer.feed(plain):
                out.append(stream.event(event))
                self._last = out[-1] or self._last
            if end:
                out.extend(stream.event(event) for event in framer.close())
                out.append(stream.close())
        except UpstreamError as error:
            return b"".join(out), error
        except FramingError as error:
            return b"".join(out), GarbledReply(str(error))
        may_repeat = self._released and not framer.holds and not self._head.get("content-encoding")
        self._alike = stream.state.alike if may_repeat else None
        return b"".join(out), None

    def _release(self, stream: StreamTranslator, data: bytes, now: float) -> list[Step]:
        """Hold until the first event that says something; comments and pings do not."""
        if self._released:
            return [Body(data=data, end=False)] if data else []
        self._held += data
        if stream.state.events == 0:
            return []
        self._released = True
        self.first_event_at = now
        held, self._held = self._held, b""
        # Whatever its framing was at the provider, the client's stream is server-sent events.
        rewritten = (("content-type", "text/event-stream"),) if is_event_stream(self._head) else ()
        head = answer_head(self._attempt, self._head, self._status, rewritten)
        return [head, Body(data=held, end=False)] if held else [head]

    def _finish(self, stream: StreamTranslator, data: bytes, now: float) -> list[Step]:
        steps = self._release(stream, data, now)
        if not self._released:
            # Nothing but [DONE]: an empty answer is not an answer.
            message = "The provider's stream ended without a single event."
            return self._fail(GarbledReply(message), now)
        self._conclude(now, status=_OK, bill=bill_stream(self._attempt, stream.state, complete=True), final=True)
        if steps and isinstance(steps[-1], Body):
            return [*steps[:-1], replace(steps[-1], end=True)]
        return [*steps, Body(data=b"", end=True)]

    def _fail(self, error: UpstreamError, now: float, *, reason: Reason | None = None) -> list[Step]:
        if self._stream is not None and self._is_told:
            return self._finish(self._stream, b"", now)
        verdict = judge(error) if reason is None else judge_reason(reason)
        error = redact(error, verdict, self._attempt.target)
        if self._released:
            self._conclude(now, status=_OK, verdict=verdict, final=True, bill=self._unfinished())
            return [Body(data=error_event(error), end=True)]
        moves_on = verdict.failover and not self._attempt.last
        summary = self._summary(now, verdict)
        attempts = (*self._attempt.before, summary)
        shown = error if moves_on else final_error(error, attempts)
        body = error_body(shown, attempts)
        self._conclude(
            now,
            status=shown.status,
            verdict=verdict,
            final=not moves_on,
            bill=self._failed(verdict.reason, told=reason is None),
            retry_after=error.retry_after,
        )
        head = failed_head(
            self._head,
            attempt_headers(self._attempt, self._head),
            summary,
            status=shown.status,
            length=len(body),
            failover=verdict.reason if moves_on else None,
            retry_after=error.retry_after,
        )
        return [head, Body(data=body, end=True)]

    def _summary(self, now: float, verdict: Verdict | None) -> AttemptSummary:
        return AttemptSummary(
            backend=self._attempt.target.backend,
            outcome=ANSWERED if verdict is None else verdict.reason.value,
            status=None if self._head.get(LOCAL_REPLY) else self._status or None,
            milliseconds=round((now - self._attempt.started) * 1_000),
        )

    def _conclude(
        self,
        now: float,
        *,
        status: int | None,
        final: bool,
        verdict: Verdict | None = None,
        bill: Bill = NO_BILL,
        retry_after: str | None = None,
        abandoned: bool = False,
    ) -> None:
        self._alike = None
        tries = self._head.get(ENVOY_ATTEMPT_COUNT, "")
        self.outcome = conclude(
            self._attempt,
            now=now,
            status=status,
            final=final,
            verdict=verdict,
            tries=int(tries) if tries.isdigit() else None,
            bill=bill,
            served_model=self._served_model,
            first_event_at=self.first_event_at,
            retry_after=retry_after,
            abandoned=abandoned,
        )
