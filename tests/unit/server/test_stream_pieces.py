"""A stream's events on their short way: the client gets what it gets when Envoy's messages are read in full."""

from __future__ import annotations

import gzip
import json
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from extproc.config.load import load
from extproc.exchange.assignment import Assignment
from extproc.exchange.outcome import Outcome
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.exchange.verdict import Reason
from extproc.headers import ASSIGNMENT
from extproc.openai.call import Operation
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.providers.registry import PROVIDERS, SETTINGS
from extproc.server.attempt_stream import AttemptStream
from extproc.server.counting import Counting
from extproc.server.seams import Context, Recorder
from tests.unit.server.scripted_envoy import ScriptedEnvoy

CONFIG = b"""
backends: {inner: {provider: custom, url: "http://provider.test", model: inner}}
routes: {named: {models: [named], defaultBackend: {name: inner}}}
"""
BODY = b'{"model":"named","stream":true,"messages":[{"role":"user","content":"x"}]}'
# As Envoy ends each of its messages, which is what the short way is known by.
NO_METADATA = b"B\x00"


def says(text: str, **more: Any) -> bytes:
    """One chunk."""
    chunk = {"model": "inner", "choices": [{"index": 0, "delta": {"content": text}, **more}], "usage": None}
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


DONE = says("", finish_reason="stop") + b"data: [DONE]\n\n"
FAILED = b'data: {"error":{"message":"boom"}}\n\n'
LONG = says("x" * 5_000)
LONGEST = says("x" * 70_000)


class Notes:
    """A recorder that keeps the outcomes."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None

    def ended(self, outcome: Outcome, _request_id: str | None) -> None:
        self.outcomes.append(outcome)


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    """One config, compiled."""
    config = load(CONFIG, SETTINGS).config
    credentials = dict.fromkeys(config.backends, lambda: None)
    return compile_snapshot(config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials=credentials)


def requests(pieces: list[bytes], coding: str) -> list[ProcessingRequest]:
    """A whole attempt's messages."""
    assignment = Assignment(
        operation=Operation.CHAT,
        asked="named",
        model="named",
        stream=True,
        include_usage=False,
        route="named",
        plan=("inner",),
        retries=0,
        try_ms=60_000,
        idle_ms=60_000,
        arrived_ms=0,
        deadline_ms=None,
    )
    begins = ProcessingRequest()
    begins.request_headers.headers.headers.add(key=ASSIGNMENT, raw_value=assignment.to_header())
    head = ProcessingRequest()
    for name, value in ((":status", b"200"), ("content-encoding", coding.encode())):
        head.response_headers.headers.headers.add(key=name, raw_value=value)
    return [
        begins,
        ProcessingRequest(request_body={"body": BODY, "end_of_stream": True}),
        head,
        *(ProcessingRequest(response_body={"body": piece}) for piece in pieces),
        ProcessingRequest(response_body={"end_of_stream": True}),
    ]


async def replied(
    snapshot: Snapshot, pieces: list[bytes], *, rest: bytes, coding: str = "identity"
) -> tuple[bytes, list[bool], list[Outcome]]:
    """The body that the client gets, whether each of its pieces ends it, and what is recorded."""
    notes, envoy = Notes(), ScriptedEnvoy(*requests(pieces, coding), rest=rest)
    target = snapshot.exact["named"].targets[0]
    gate = Counting(CollectorRegistry())
    await AttemptStream(cast("Context", envoy), cast("Recorder", notes), snapshot, target, gate).serve()
    streamed = [
        message.response_body.response.body_mutation.streamed_response
        for message in envoy.received
        if message.HasField("response_body")
    ]
    assert all(len(piece.body) <= 64 << 10 for piece in streamed)
    ends = [piece.end_of_stream for piece in streamed]
    return b"".join(piece.body for piece in streamed), ends, notes.outcomes


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([says("a"), says("b"), says("c"), DONE], id="one-by-one"),
        pytest.param([says("a") + says("b")[:30], says("b")[30:] + says("c"), DONE], id="cut-anywhere"),
        pytest.param([says("a"), b": ping\n\n", b"\r\n", says("b").replace(b"\n", b"\r\n"), DONE], id="other-lines"),
        pytest.param([says("a"), LONG, LONGEST, says("b"), DONE], id="long"),
        pytest.param([says("a"), says("b"), FAILED, says("c"), DONE], id="failed"),
        pytest.param([says("a"), says("b") + FAILED, says("c")], id="failed-within-a-piece"),
        pytest.param([says("a"), b"data: {\n\n", says("c")], id="garbled"),
        pytest.param([says("a"), says("b")], id="cut-off"),
        pytest.param([FAILED, says("a")], id="failed-at-once"),
    ],
)
async def test_the_short_way_gives_the_same(snapshot: Snapshot, pieces: list[bytes]) -> None:
    """And the end comes once, as the last thing."""
    body, ends, (outcome,) = await replied(snapshot, pieces, rest=NO_METADATA)
    slowly, _, (other,) = await replied(snapshot, pieces, rest=b"")
    assert (body, outcome.reason, outcome.final) == (slowly, other.reason, other.final)
    assert (outcome.usage, outcome.served_model) == (other.usage, other.served_model)
    assert ends == [False] * (len(ends) - 1) + [True]


async def test_an_encoded_stream_takes_it_too(snapshot: Snapshot) -> None:
    """Also where a piece gives nothing yet, and where it is none of what its header says."""
    plain = [says("a"), says("b"), DONE]
    packed = gzip.compress(b"".join(plain))
    body, _, _ = await replied(snapshot, plain, rest=NO_METADATA)
    pieces = [packed[at : at + 7] for at in range(0, len(packed), 7)]
    assert (await replied(snapshot, pieces, rest=NO_METADATA, coding="gzip"))[0] == body
    broken = await replied(snapshot, [packed[:-12], *plain], rest=NO_METADATA, coding="gzip")
    assert (broken[1][-1], broken[2][0].reason is None) == (True, False)


async def test_a_bug_ends_the_stream_with_an_error(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never with a hang, whichever way the piece takes."""
    monkeypatch.setattr("extproc.dialects.openai_compatible.stream.in_band_error", _fails_at_bug)
    for rest in (NO_METADATA, b""):
        body, ends, (outcome,) = await replied(snapshot, [says("a"), says("bug"), says("c")], rest=rest)
        assert (body.count(b"internal_error"), ends[-1], ends.count(True)) == (1, True, 1)
        assert (b'"c"' in body, outcome.reason) == (False, Reason.GATEWAY)


def _fails_at_bug(fields: dict[str, Any]) -> None:
    if "bug" in str(fields):
        raise ZeroDivisionError
