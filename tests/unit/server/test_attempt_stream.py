"""The attempt's ext_proc stream: wherever it ends, the attempt that it began is recorded once, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from extproc.config.load import load
from extproc.exchange.assignment import Assignment
from extproc.exchange.attempt import Attempt
from extproc.exchange.outcome import Outcome
from extproc.exchange.refusal import Refusal
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.exchange.verdict import Reason
from extproc.headers import ASSIGNMENT
from extproc.openai.call import Operation
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.providers.registry import PROVIDERS, SETTINGS
from extproc.routing.decision import Decision
from extproc.server.attempt_stream import AttemptStream
from extproc.server.counting import Counting
from extproc.server.seams import Context
from tests.unit.server.scripted_envoy import ScriptedEnvoy

CONFIG = b"""
backends:
  named: {provider: custom, url: "http://provider.test", model: inner}
  plain: {provider: custom, url: "http://provider.test"}
routes:
  named: {models: [named], defaultBackend: {name: named}}
  plain: {models: [plain], defaultBackend: {name: plain}}
"""
BODY = b'{"model":"named","messages":[{"role":"user","content":"x"}]}'
NO_GATE = Counting(CollectorRegistry())
ANSWER = b'{"model":"inner","choices":[]}'


class Recorder:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.outcomes: list[Outcome] = []
        self.settlements: list[tuple[Outcome, int]] = []
        self.sent: Callable[[], int] = lambda: 0

    def refused(self, refusal: Refusal) -> None:
        raise AssertionError(refusal)

    def decided(self, decision: Decision) -> None:
        raise AssertionError(decision)

    def begun(self, attempt: Attempt, request_id: str | None) -> None:
        self.attempts.append(attempt)

    def settled(self, outcome: Outcome, request_id: str | None) -> None:
        self.settlements.append((outcome, self.sent()))

    def ended(self, outcome: Outcome, request_id: str | None) -> None:
        self.outcomes.append(outcome)


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    """One config, compiled."""
    config = load(CONFIG, SETTINGS).config
    credentials = dict.fromkeys(config.backends, lambda: None)
    return compile_snapshot(config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials=credentials)


def request_headers(model: str) -> ProcessingRequest:
    """The client's, with what arrival added."""
    assignment = Assignment(
        operation=Operation.CHAT,
        asked=model,
        model=model,
        stream=False,
        include_usage=False,
        route=model,
        plan=(model,),
        retries=0,
        try_ms=60_000,
        idle_ms=60_000,
        arrived_ms=0,
        deadline_ms=None,
    )
    message = ProcessingRequest()
    message.request_headers.headers.headers.add(key=ASSIGNMENT, raw_value=assignment.to_header())
    return message


REQUEST_BODY = ProcessingRequest(request_body={"body": BODY, "end_of_stream": True})
REPLY_HEADERS = ProcessingRequest(
    response_headers={"headers": {"headers": [{"key": ":status", "raw_value": b"200"}]}},
)
REPLY_PART = ProcessingRequest(response_body={"body": ANSWER[:9]})
REPLY_END = ProcessingRequest(response_body={"body": ANSWER[9:], "end_of_stream": True})
REPLY_REST = ProcessingRequest(response_body={"body": ANSWER[9:]})
REPLY_TRAILERS = ProcessingRequest(response_trailers={})
REPLY_WITHOUT_BODY = ProcessingRequest(
    response_headers={"headers": {"headers": [{"key": ":status", "raw_value": b"503"}]}, "end_of_stream": True},
)
SO_FAR = [request_headers("named"), REQUEST_BODY, REPLY_HEADERS, REPLY_PART, REPLY_END]


@pytest.mark.parametrize(
    ("model", "messages", "reason"),
    [
        pytest.param("named", SO_FAR[:1], Reason.CLIENT_GONE, id="before-the-body"),
        pytest.param("named", SO_FAR[:2], Reason.CLIENT_GONE, id="before-the-reply"),
        pytest.param("named", SO_FAR[:3], Reason.RESET, id="after-the-replys-headers"),
        pytest.param("named", SO_FAR[:4], Reason.RESET, id="within-the-reply"),
        pytest.param("named", SO_FAR, None, id="after-the-reply"),
        pytest.param("plain", [request_headers("plain")], Reason.CLIENT_GONE, id="without-need-of-the-body"),
    ],
)
async def test_attempt_is_recorded_once_wherever_its_stream_ends(
    snapshot: Snapshot, model: str, messages: list[ProcessingRequest], reason: Reason | None
) -> None:
    """Else the count of attempts in flight would never come back to zero."""
    recorder, envoy = Recorder(), ScriptedEnvoy(*messages)
    await AttemptStream(cast("Context", envoy), recorder, snapshot, snapshot.exact[model].targets[0], NO_GATE).serve()
    assert len(recorder.attempts) == 1
    assert [outcome.reason for outcome in recorder.outcomes] == [reason]
    assert [outcome for outcome, _ in recorder.settlements] == recorder.outcomes


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param([REPLY_HEADERS, REPLY_PART, REPLY_END], id="ended-by-its-body"),
        pytest.param([REPLY_WITHOUT_BODY], id="ended-by-its-headers"),
        pytest.param([REPLY_HEADERS, REPLY_PART, REPLY_REST, REPLY_TRAILERS], id="ended-by-its-trailers"),
    ],
)
async def test_stream_ends_when_envoy_has_been_told_all(snapshot: Snapshot, reply: list[ProcessingRequest]) -> None:
    """What comes after the reply's end is nobody's: one wait less for each request."""
    recorder, envoy = Recorder(), ScriptedEnvoy(*SO_FAR[:2], *reply, REPLY_PART)
    await AttemptStream(cast("Context", envoy), recorder, snapshot, snapshot.exact["named"].targets[0], NO_GATE).serve()
    assert await envoy.read() == REPLY_PART.SerializeToString()
    assert len(recorder.outcomes) == 1


async def test_attempt_is_settled_before_its_reply_ends(snapshot: Snapshot) -> None:
    """A client that has the whole reply is in the ledger, even if this process dies in the very next moment."""
    recorder, envoy = Recorder(), ScriptedEnvoy(*SO_FAR)
    recorder.sent = lambda: len(envoy.received)
    await AttemptStream(cast("Context", envoy), recorder, snapshot, snapshot.exact["named"].targets[0], NO_GATE).serve()
    (settlement,) = recorder.settlements
    later = envoy.received[settlement[1] :]
    assert any(message.response_body.response.body_mutation.streamed_response.end_of_stream for message in later)


async def test_foreign_request_begins_no_attempt(snapshot: Snapshot) -> None:
    """It did not pass the edge: it is refused, and nothing is recorded."""
    recorder, envoy = Recorder(), ScriptedEnvoy(ProcessingRequest(request_headers={}))
    await AttemptStream(cast("Context", envoy), recorder, snapshot, snapshot.exact["plain"].targets[0], NO_GATE).serve()
    assert [message.immediate_response.status.code for message in envoy.received] == [500]
    assert (recorder.attempts, recorder.outcomes) == ([], [])
