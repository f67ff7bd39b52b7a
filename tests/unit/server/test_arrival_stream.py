"""The arrival's ext_proc stream, where limits and budgets meet the decision."""

from __future__ import annotations

from typing import Any, cast

import grpc
import pytest

from extproc.admission.settlement import NOTHING_HELD, Reservation
from extproc.config.limits import Tier
from extproc.config.load import load
from extproc.exchange.assignment import read_assignment
from extproc.exchange.charging import Brownout, Charge
from extproc.exchange.refusal import Refusal
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.headers import ASSIGNMENT
from extproc.metering.rates import Price
from extproc.pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.providers.registry import PROVIDERS, SETTINGS
from extproc.quota.gate import Admission
from extproc.routing.decision import Decision
from extproc.routing.health import UNKNOWN, BackendState
from extproc.server.seams import Context
from extproc.server.stream import ExternalProcessor

CONFIG = b"""
backends:
  dear: {provider: custom, url: "http://provider.test"}
  little: {provider: custom, url: "http://provider.test", contextWindow: 20}
  free: {provider: custom, url: "http://provider.test", unpriced: reject}
routes:
  dear: {models: [dear], defaultBackend: {name: dear}}
  little: {models: [little], defaultBackend: {name: little}}
  free: {models: [free], defaultBackend: {name: free}}
  closed:
    models: [closed]
    defaultBackend: {name: dear}
    rules: [{name: nobody, match: {model: "*"}, refuse: {message: "Not today."}}]
budgets:
  - {name: pocket-money, tokens: 1000000}
"""
BODY = b'{"model":"dear","max_tokens":50,"messages":[{"role":"user","content":"What is the answer to all of it?"}]}'


class Gate:
    """Lets everything through, made cheaper by the model ``alias``."""

    def __init__(self, alias: str) -> None:
        self._brownout = Brownout(budget="pocket-money", tier=Tier(at=50, alias=alias))

    async def admit(self, charge: Charge) -> Admission:
        return Admission(reservation=NOTHING_HELD, brownout=self._brownout)

    async def extend(self, reservation: Reservation, *, tokens: int, price: Price | None) -> Reservation | None:
        raise AssertionError(reservation)

    def give_back(self, reservation: Reservation) -> None:
        raise AssertionError(reservation)


class Recorder:
    """Nothing is refused here."""

    def refused(self, refusal: Refusal) -> None:
        raise AssertionError(refusal.error)

    def decided(self, decision: Decision) -> None:
        pass


class OpenGate(Gate):
    """Takes back what nobody used."""

    def give_back(self, reservation: Reservation) -> None:
        pass


class Noting(Recorder):
    """Notes what is refused."""

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []

    def refused(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)


class Board:
    """Knows nothing of any backend."""

    def state(self, backend: str) -> BackendState:
        return UNKNOWN

    def planned(self, backend: str) -> None:
        pass


class BrokenBoard(Board):
    """Has a bug."""

    def state(self, backend: str) -> BackendState:
        raise ZeroDivisionError(backend)


class Current:
    """One config, compiled."""

    def __init__(self) -> None:
        config = load(CONFIG, SETTINGS).config
        credentials = dict.fromkeys(config.backends, lambda: None)
        self.snapshot: Snapshot = compile_snapshot(
            config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials=credentials
        )
        self.targets = self.snapshot.targets


class Envoy:
    """The other end of the stream."""

    def __init__(self) -> None:
        headers = {":method": "POST", ":path": "/v1/chat/completions", "content-length": str(len(BODY))}
        first = ProcessingRequest()
        for name, value in headers.items():
            first.request_headers.headers.headers.add(key=name, raw_value=value.encode())
        self._messages = [first, ProcessingRequest(request_body={"body": BODY, "end_of_stream": True})]
        self.received: list[ProcessingResponse] = []

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("x-kortex-stage", "arrival"),)

    async def read(self) -> Any:
        return self._messages.pop(0) if self._messages else grpc.aio.EOF

    async def write(self, message: bytes) -> None:
        self.received.append(ProcessingResponse.FromString(message))


@pytest.mark.parametrize(
    "alias",
    [
        pytest.param("little", id="no-room"),
        pytest.param("free", id="no-price"),
        pytest.param("closed", id="refused-by-rule"),
    ],
)
async def test_a_budget_that_runs_low_refuses_no_call_that_its_own_model_can_serve(alias: str) -> None:
    """The client did not ask for the cheaper model, and has no part in what that cannot do."""
    envoy = Envoy()
    processor = ExternalProcessor(Current(), cast("Any", Recorder()), Board(), Gate(alias))
    await processor.process(None, cast("Context", envoy))
    headers = envoy.received[-1].request_body.response.header_mutation.set_headers
    assigned = {one.header.key: one.header.raw_value.decode() for one in headers}
    assert read_assignment(assigned[ASSIGNMENT]).plan == ("dear",)


async def test_a_bug_is_told_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """As a refusal that is the gateway's own fault; the traceback is in the log alone."""
    envoy, recorder = Envoy(), Noting()
    processor = ExternalProcessor(Current(), cast("Any", recorder), BrokenBoard(), OpenGate("little"))
    await processor.process(None, cast("Context", envoy))
    reply = envoy.received[-1].immediate_response
    assert reply.status.code == 500
    assert b"internal_error" in reply.body
    assert b"ZeroDivisionError" not in reply.body
    (refusal,) = recorder.refusals
    assert (refusal.error.status, refusal.error.code, refusal.path) == (500, "internal_error", "/v1/chat/completions")
    assert refusal.caller is not None
    logged = [(record.levelname, record.message) for record in caplog.records if record.name.startswith("extproc")]
    assert logged == [("ERROR", "arrival failed")]
