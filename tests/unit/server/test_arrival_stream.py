"""The arrival's ext_proc stream, where limits and budgets meet the decision."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from extproc.admission.settlement import NOTHING_HELD, Reservation
from extproc.config.limits import Tier
from extproc.config.load import load
from extproc.errors import QuotaUnavailable
from extproc.exchange.assignment import Assignment, read_assignment
from extproc.exchange.charging import Brownout, Charge
from extproc.exchange.refusal import Refusal
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.headers import ASSIGNMENT
from extproc.metering.rates import Price
from extproc.pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.providers.registry import PROVIDERS, SETTINGS
from extproc.quota.gate import Admission
from extproc.routing.decision import Decision
from extproc.routing.health import UNKNOWN, BackendState, Circuit
from extproc.server.stream import ExternalProcessor

CONFIG = b"""
backends:
  dear: {provider: custom, url: "http://provider.test"}
  little: {provider: custom, url: "http://provider.test", contextWindow: 20}
  free: {provider: custom, url: "http://provider.test", unpriced: reject}
  spare: {provider: custom, url: "http://provider.test"}
routes:
  pair: {models: [pair], defaultBackend: {name: dear}, fallback: {backends: [spare]}}
  spare: {models: [spare], defaultBackend: {name: spare}}
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

    def planned(self, backend: str) -> bool:
        return False

    def dropped(self, backend: str) -> None:
        raise AssertionError(backend)


class HalfOpenBoard(Board):
    """One request may probe the backend ``dear``."""

    def __init__(self) -> None:
        self.free = True
        self.heard: list[str] = []

    def state(self, backend: str) -> BackendState:
        if backend != "dear":
            return UNKNOWN
        return BackendState(circuit=Circuit.HALF_OPEN if self.free else Circuit.OPEN)

    def planned(self, backend: str) -> bool:
        taken = backend == "dear" and self.free
        self.free = self.free and not taken
        self.heard += ["taken"] if taken else []
        return taken

    def dropped(self, backend: str) -> None:
        self.heard.append(f"{backend} dropped")


class SlowGate(OpenGate):
    """Lets requests through when it is told to, or never."""

    def __init__(self, error: Exception | None = None, alias: str | None = None) -> None:
        self.asked, self.opened = asyncio.Semaphore(0), asyncio.Event()
        self._error = error
        self._tier = None if alias is None else Brownout(budget="pocket-money", tier=Tier(at=50, alias=alias))

    async def admit(self, charge: Charge) -> Admission:
        self.asked.release()
        await self.opened.wait()
        if self._error is not None:
            raise self._error
        return Admission(reservation=NOTHING_HELD, brownout=self._tier)


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

    def __init__(self, model: str = "dear") -> None:
        body = BODY.replace(b'"dear"', b'"%s"' % model.encode())
        headers = {":method": "POST", ":path": "/v1/chat/completions", "content-length": str(len(body))}
        first = ProcessingRequest()
        for name, value in headers.items():
            first.request_headers.headers.headers.add(key=name, raw_value=value.encode())
        self._messages = [first, ProcessingRequest(request_body={"body": body, "end_of_stream": True})]
        self.received: list[ProcessingResponse] = []

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("x-kortex-stage", "arrival"),)

    async def read(self, *, silent: bool = False, take: Callable[[bytes], bool] | None = None) -> bytes | None:
        return self._messages.pop(0).SerializeToString() if self._messages else None

    def write(self, message: bytes) -> None:
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
    await processor.process(envoy)
    assert planned_by(envoy).plan == ("dear",)


def planned_by(envoy: Envoy) -> Assignment:
    """What arrival has made of the request."""
    headers = envoy.received[-1].request_body.response.header_mutation.set_headers
    assigned = {one.header.key: one.header.raw_value.decode() for one in headers}
    return read_assignment(assigned[ASSIGNMENT])


async def test_one_of_two_requests_that_wait_together_is_the_probe() -> None:
    """It is chosen before it waits for what limits and budgets say; the other goes elsewhere."""
    board, gate, envoys = HalfOpenBoard(), SlowGate(), (Envoy("pair"), Envoy("pair"))
    processor = ExternalProcessor(Current(), cast("Any", Recorder()), board, gate)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for envoy in envoys:
            group.create_task(processor.process(envoy))
        for _ in envoys:
            await gate.asked.acquire()
        gate.opened.set()
    plans = [planned_by(envoy) for envoy in envoys]
    assert [(plan.plan, plan.probe) for plan in plans] == [(("dear", "spare"), True), (("spare", "dear"), False)]
    assert board.heard == ["taken"]


async def test_a_probe_is_given_back_when_its_request_is_refused() -> None:
    """Nobody will be asked."""
    board, gate = HalfOpenBoard(), SlowGate(error=QuotaUnavailable("not now"))
    gate.opened.set()
    await ExternalProcessor(Current(), cast("Any", Noting()), board, gate).process(Envoy("pair"))
    assert board.heard == ["taken", "dear dropped"]


async def test_a_probe_is_given_back_when_its_client_leaves() -> None:
    """While it waited."""
    board, gate = HalfOpenBoard(), SlowGate()
    processor = ExternalProcessor(Current(), cast("Any", Recorder()), board, gate)
    task = asyncio.create_task(processor.process(Envoy("pair")))
    await gate.asked.acquire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert board.heard == ["taken", "dear dropped"]


@pytest.mark.parametrize(
    ("alias", "probe", "heard"),
    [
        pytest.param("dear", True, ["taken"], id="the-same-backend"),
        pytest.param("spare", False, ["taken", "dear dropped"], id="another-backend"),
    ],
)
async def test_a_probe_is_the_cheaper_call_s_where_that_goes_there_too(
    alias: str, heard: list[str], *, probe: bool
) -> None:
    """A budget that runs low decides a second time."""
    board, gate, envoy = HalfOpenBoard(), SlowGate(alias=alias), Envoy("pair")
    gate.opened.set()
    await ExternalProcessor(Current(), cast("Any", Recorder()), board, gate).process(envoy)
    assert planned_by(envoy).plan == (alias,)
    assert planned_by(envoy).probe is probe
    assert board.heard == heard


async def test_a_bug_is_told_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """As a refusal that is the gateway's own fault; the traceback is in the log alone."""
    envoy, recorder = Envoy(), Noting()
    processor = ExternalProcessor(Current(), cast("Any", recorder), BrokenBoard(), OpenGate("little"))
    await processor.process(envoy)
    reply = envoy.received[-1].immediate_response
    assert reply.status.code == 500
    assert b"internal_error" in reply.body
    assert b"ZeroDivisionError" not in reply.body
    (refusal,) = recorder.refusals
    assert (refusal.error.status, refusal.error.code, refusal.path) == (500, "internal_error", "/v1/chat/completions")
    assert refusal.caller is not None
    logged = [(record.levelname, record.message) for record in caplog.records if record.name.startswith("extproc")]
    assert logged == [("ERROR", "arrival failed")]
