"""Process(): one ext_proc stream. Reads Envoy's messages, asks exchange/ what they mean, writes the replies."""

from __future__ import annotations

import logging
import secrets
import time
from functools import partial
from typing import Final

from extproc.admission.keyring import ANYONE
from extproc.admission.settlement import NOTHING_HELD
from extproc.errors import ClientError, InvalidApiKey, KortexError
from extproc.exchange.arrival import Answer, Planned, arrive, plan_call, probing
from extproc.exchange.charging import told_of
from extproc.exchange.failure import broken
from extproc.exchange.refusal import Refusal
from extproc.exchange.snapshot import Snapshot
from extproc.exchange.trace import TRACEPARENT, Trace, continue_trace
from extproc.headers import REQUEST_ID, Headers
from extproc.openai.call import path_of
from extproc.openai.error_body import error_body
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.routing.decision import Decision
from extproc.server import messages
from extproc.server.attempt_stream import AttemptStream
from extproc.server.seams import Board, Context, Current, Gate, Recorder, next_message

STAGE: Final = "x-kortex-stage"
TARGET: Final = "x-kortex-target"
ARRIVAL: Final = "arrival"
ATTEMPT: Final = "attempt"

_DECISION_DIGITS: Final = 16
"""Of the exchange's id, which tell a decision from all others, too."""

_LOG = logging.getLogger(__name__)


class ExternalProcessor:
    """Envoy's ``ExternalProcessor`` service: the stage and the target stand in each stream's initial metadata."""

    def __init__(self, current: Current, recorder: Recorder, board: Board, gate: Gate) -> None:
        self._current = current
        self._gate = gate
        self._recorder = recorder
        self._board = board
        self.open_streams = 0

    async def process(self, context: Context) -> None:
        """Serve one stream until Envoy ends it."""
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        self.open_streams += 1
        try:
            if metadata.get(STAGE) == ATTEMPT:
                target = self._current.targets.get(metadata.get(TARGET, ""))
                stream = AttemptStream(context, self._recorder, self._current.snapshot, target, self._gate)
                await stream.serve()
            else:
                arrival = _ArrivalStream(context, self._recorder, self._current.snapshot, self._board, self._gate)
                await arrival.serve()
        finally:
            self.open_streams -= 1


class _ArrivalStream:
    """Headers, then the body, then the plan. The stream ends with its last reply: Envoy needs nothing more of it,

    and a stream that stayed open would tie the request to this worker's life.
    """

    def __init__(self, context: Context, recorder: Recorder, snapshot: Snapshot, board: Board, gate: Gate) -> None:
        self._context = context
        self._gate = gate
        self._reservation = NOTHING_HELD
        self._probe: str | None = None
        self._decision: Decision | None = None
        self._recorder = recorder
        self._snapshot = snapshot
        self._board = board
        self._headers = Headers()
        self._key = ANYONE
        self._exchange = secrets.token_hex(16)
        self._began = time.time()

    async def serve(self) -> None:
        try:
            await self._serve()
        except BaseException:
            # The request went away meanwhile: no attempt will settle what was reserved for it.
            self._give_back()
            raise

    async def _serve(self) -> None:
        while True:
            message = await next_message(self._context, silent=True)
            if message is None:
                return
            try:
                reply, done = await self._reply(message)
            except KortexError as error:
                reply, done = self._refused(error), True
            except Exception:
                _LOG.exception("arrival failed", extra={"request_id": self._headers.get(REQUEST_ID)})
                reply, done = self._refused(broken()), True
            self._context.write(reply)
            if done:
                return

    def _refused(self, error: KortexError) -> bytes:
        self._give_back()
        self._recorder.refused(self._refusal(error))
        return refusal(error)

    def _give_back(self) -> None:
        self._gate.give_back(self._reservation)
        self._reservation = NOTHING_HELD
        self._give_probe_back()

    async def _reply(self, message: ProcessingRequest) -> tuple[bytes, bool]:
        if message.HasField("request_headers"):
            self._headers = messages.read_headers(message.request_headers)
            has_body = not message.request_headers.end_of_stream
            arrived = arrive(self._headers, has_body=has_body, snapshot=self._snapshot, now=time.time())
            if isinstance(arrived, Answer):
                return messages.immediate_reply(arrived, None), True
            self._key = arrived
            return messages.CONTINUE_HEADERS, False
        try:
            planned = await self._planned(message.request_body.body)
        finally:
            # Once, though a budget that runs low has a call decided about anew.
            if self._decision is not None:
                self._recorder.decided(self._decision)
        reserved = None if self._reservation is NOTHING_HELD else self._reservation
        return messages.planned_reply(planned, reserved), True

    async def _planned(self, body: bytes) -> Planned:
        plan = partial(
            plan_call,
            self._headers,
            body,
            snapshot=self._snapshot,
            now=time.time,
            exchange=self._exchange,
            decision_id=self._exchange[:_DECISION_DIGITS],
            states=self._board,
            key=self._key,
        )
        planned = self._claimed(plan(decided=self._decided))
        if planned.charge is None:
            return planned
        admission = await self._gate.admit(planned.charge)
        self._reservation = admission.reservation
        if admission.brownout is None:
            return planned
        try:
            cheaper = plan(brownout=admission.brownout)
        except ClientError:
            # Also what the cheaper model has no room, no price or no permission for: nobody asked for that model, and
            # what it cannot do is done by the dearer one, while there is still money for it.
            return planned
        self._decided(cheaper.decision)
        self._reservation = told_of(admission.brownout, admission.reservation)
        return self._claimed(cheaper)

    def _decided(self, decision: Decision) -> None:
        self._decision = decision

    def _claimed(self, planned: Planned) -> Planned:
        """Where it begins with a probe, that is taken in the moment of the choice: a request that comes while this one

        waits for its reservation must not make the same choice.
        """
        backend = planned.backends[0]
        if backend != self._probe:
            self._give_probe_back()
            self._probe = backend if self._board.planned(backend) else None
        return planned if self._probe is None else probing(planned)

    def _give_probe_back(self) -> None:
        if self._probe is not None:
            self._board.dropped(self._probe)
            self._probe = None

    def _refusal(self, error: KortexError) -> Refusal:
        return Refusal(
            error=error,
            exchange=self._exchange,
            request_id=self._headers.get(REQUEST_ID),
            caller=None if isinstance(error, InvalidApiKey) else self._key.caller,
            path=path_of(self._headers.get(":path", "")),
            arrived=self._began,
            ended=time.time(),
            trace=self._trace(),
        )

    def _trace(self) -> Trace | None:
        tracing = self._snapshot.config.gateway.tracing
        if tracing is None:
            return None
        return continue_trace(self._headers.get(TRACEPARENT), exchange=self._exchange, ratio=tracing.sampling)


def refusal(error: KortexError) -> bytes:
    """An error as Envoy's immediate response."""
    headers = (("content-type", "application/json"), *error.headers)
    answer = Answer(status=error.status, body=error_body(error), headers=headers)
    return messages.immediate_reply(answer, error.code)
