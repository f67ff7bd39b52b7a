"""The gate: what becomes of requests, settlements and news while the store is there, and while it is not."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from extproc.admission.caller import Caller
from extproc.admission.charge import Line, Reserved, Settlement
from extproc.admission.demand import Demand
from extproc.admission.judgement import Passed
from extproc.admission.policy import compile_budget, compile_limit
from extproc.admission.scope import Subject
from extproc.admission.settlement import Used, settle_attempt
from extproc.admission.small_change import SmallChange
from extproc.admission.tariff import Tariff
from extproc.config.limits import Budget, Limit
from extproc.errors import BudgetExhausted, QuotaUnavailable, RateLimited
from extproc.exchange.charging import Charge
from extproc.quota import embedded
from extproc.quota.embedded import EmbeddedStore
from extproc.quota.gate import Gate
from extproc.quota.store import StoreUnavailable

SUBJECT = Subject(caller=Caller(key="ci"), route="r", model="m", headers={})


class Fickle(EmbeddedStore):
    """A store that can be away."""

    away = False
    broken = False
    answers = asyncio.Event()
    """Until it is set, grants do not come back; replaced where a test wants that."""
    answers.set()
    tended = 0

    async def tend(self) -> None:
        self._look()
        self.tended += 1
        await super().tend()

    async def reserve(self, reservation: str, lines: Sequence[Line], *, lasts: float) -> Reserved:
        self._look()
        reserved = await super().reserve(reservation, lines, lasts=lasts)
        await self.answers.wait()
        return reserved

    async def settle(self, batch: str, settlements: Sequence[Settlement]) -> None:
        self._look()
        if self.broken:
            raise OverflowError("a number that no store can hold")
        await super().settle(batch, settlements)

    def _look(self) -> None:
        if self.away:
            raise StoreUnavailable("it is away")


class Told:
    """Telemetry and webhook in one, for looking at."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []

    def limited(self, policy: str, kind: str, mode: str) -> None:
        self.said.append((policy, kind, mode))

    def passed(self, budget: object, percent: int = 0) -> None:
        self.said.append(("webhook" if isinstance(budget, Passed) else "metric", getattr(budget, "percent", percent)))

    def uncounted(self, decision: str) -> None:
        self.said.append((decision,))

    def unsettled(self, count: int) -> None:
        self.said.append(("unsettled", count))

    def store_up(self, *, up: bool) -> None:
        if not up:
            self.said.append(("down",))


def charge(*, expected: int = 1, on_store_failure: str | None = None, tokens: int = 10, stream: bool = False) -> Charge:
    """Of a call with a limit and a budget."""
    failure = {} if on_store_failure is None else {"onStoreFailure": on_store_failure}
    limit = Limit.model_validate({"requestsPerMinute": 1_000})
    budget = Budget.model_validate({"name": "b", "tokens": tokens, "estimator": {"cap": 1}, **failure})
    demand = Demand(input=expected - 1, asked=None, most=None, prices=())
    policies = (compile_limit(limit), compile_budget(budget))
    return Charge(tariff=Tariff(policies, SUBJECT), demand=demand, stream=stream)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[tuple[Gate, Fickle, Told]]:
    """A gate that runs."""
    store, told = Fickle(tmp_path / "quota.db", lambda: 1_800_000_000.0), Told()
    gate = Gate(store, lasts=60.0, observer=told, notifier=told)
    running = asyncio.create_task(gate.run())
    yield gate, store, told
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def until(told: Told, *what: object) -> None:
    """It was said."""
    async with asyncio.timeout(20):
        while what not in told.said:  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0.01)


async def until_free(gate: Gate, tokens: int) -> None:
    """So many could be taken from the budget, and are."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(BudgetExhausted):
                await gate.admit(charge(expected=tokens))
                return
            await asyncio.sleep(0.01)


async def test_a_budget_is_told_of_once_when_it_passes_a_threshold(stage: tuple[Gate, Fickle, Told]) -> None:
    """By log, metric and webhook, however many requests find it so; a refusal names it."""
    gate, _, told = stage
    for _ in range(10):
        await gate.admit(charge())
    for _ in range(3):
        with pytest.raises(BudgetExhausted):
            await gate.admit(charge())
    await until(told, "webhook", 100)
    assert [said for said in told.said if said[0] == "webhook"] == [("webhook", 50), ("webhook", 80), ("webhook", 100)]
    assert told.said.count(("b", "insufficient_quota", "enforce")) == 3


async def test_many_at_once_learn_the_time_of_the_store_together(stage: tuple[Gate, Fickle, Told]) -> None:
    """Each by itself, they would all tend the same file at once. It is also tended once a second, whoever comes."""
    gate, store, _ = stage
    await asyncio.gather(*(gate.admit(charge(tokens=1_000)) for _ in range(100)))
    assert 1 <= store.tended < 10
    store.away = True
    refused = await asyncio.gather(*(gate.admit(charge()) for _ in range(10)), return_exceptions=True)
    assert {type(one) for one in refused} == {QuotaUnavailable}
    store.away = False
    await asyncio.gather(*(gate.admit(charge(tokens=1_000)) for _ in range(100)))
    assert 2 <= store.tended < 20


async def test_budgets_refuse_and_limits_let_pass_while_nobody_counts(stage: tuple[Gate, Fickle, Told]) -> None:
    """Unless the config says otherwise."""
    gate, store, told = stage
    store.away = True
    with pytest.raises(QuotaUnavailable):
        await gate.admit(charge())
    assert (await gate.admit(charge(on_store_failure="open"))).reservation.id == ""
    assert ("closed",) in told.said
    assert ("open",) in told.said
    assert ("down",) in told.said


async def test_a_limit_refuses_while_nobody_counts_where_it_is_meant_to(stage: tuple[Gate, Fickle, Told]) -> None:
    """By itself, without a budget beside it."""
    gate, store, _ = stage
    store.away = True
    limits = [
        compile_limit(Limit.model_validate({"requestsPerMinute": 9, "onStoreFailure": failure}))
        for failure in ("open", "closed")
    ]
    for limit, refused in zip(limits, (False, True), strict=True):
        with pytest.raises(QuotaUnavailable) if refused else contextlib.nullcontext():
            await gate.admit(charge()._replace(tariff=Tariff([limit], SUBJECT)))


@pytest.mark.parametrize("turns", range(5))
async def test_a_request_that_goes_away_while_it_waits_holds_nothing(
    stage: tuple[Gate, Fickle, Told], turns: int
) -> None:
    """Whether or not it was already granted: nobody will settle it."""
    gate, _, _ = stage
    waiting = asyncio.create_task(gate.admit(charge(expected=10)))
    for _ in range(turns):
        await asyncio.sleep(0)
        if waiting.done():
            gate.give_back(waiting.result().reservation)
    waiting.cancel()
    await asyncio.wait([waiting])
    await asyncio.sleep(0.1)
    assert (await gate.admit(charge(expected=10))).reservation.id


async def test_a_client_that_leaves_before_the_store_answers_holds_nothing(stage: tuple[Gate, Fickle, Told]) -> None:
    """A server may have granted what nobody waits for any more."""
    gate, store, _ = stage
    store.answers = asyncio.Event()
    leaving = asyncio.create_task(gate.admit(charge(expected=10)))
    await asyncio.sleep(0.05)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    store.answers.set()
    await until_free(gate, 10)


async def test_settlements_wait_for_the_store_to_come_back(stage: tuple[Gate, Fickle, Told]) -> None:
    """Each is booked once."""
    gate, store, told = stage
    admission = await gate.admit(charge(expected=9))
    store.away = True
    settlement = settle_attempt(admission.reservation, Used(tokens=2), SmallChange(), final=True)
    assert settlement is not None
    gate.settle(settlement)
    await until(told, "down")
    store.away = False
    await until_free(gate, 8)
    with pytest.raises(BudgetExhausted):
        await gate.admit(charge())


async def test_settling_goes_on_after_one_that_cannot_be_booked(stage: tuple[Gate, Fickle, Told]) -> None:
    """That one is counted as lost; those after it are booked."""
    gate, store, told = stage
    lost, kept = [await gate.admit(charge(expected=3)) for _ in range(2)]
    store.broken = True
    for admission in (lost, kept):
        settlement = settle_attempt(admission.reservation, Used(tokens=0), SmallChange(), final=True)
        assert settlement is not None
        gate.settle(settlement)
        if store.broken:
            await until(told, "unsettled", 1)
        store.broken = False
    await until_free(gate, 7)


async def test_what_waits_is_booked_when_the_gate_ends(tmp_path: Path) -> None:
    """A worker that drains loses nothing."""
    store, told = Fickle(tmp_path / "quota.db", lambda: 1_800_000_000.0), Told()
    gate = Gate(store, lasts=60.0, observer=told, notifier=told)
    running = asyncio.create_task(gate.run())
    admission = await gate.admit(charge(expected=9))
    await asyncio.sleep(0)
    gate.give_back(admission.reservation)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    after = EmbeddedStore(tmp_path / "quota.db", lambda: 1_800_000_000.0)
    again = Gate(after, lasts=60.0, observer=told, notifier=told)
    await again.admit(charge(expected=10))
    await after.close()


async def test_what_has_ended_by_then_is_booked_before_the_next_request_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what ended while a batch waited already: a client may come again as soon as it has its answer."""
    monkeypatch.setattr(embedded, "_UNHURRIED", 60.0)
    store, told = EmbeddedStore(tmp_path / "quota.db", lambda: 1_800_000_000.0), Told()
    gate = Gate(store, lasts=60.0, observer=told, notifier=told)
    running = asyncio.create_task(gate.run())
    first, second = [await gate.admit(charge(expected=5)) for _ in range(2)]
    for admission in (first, second):
        gate.give_back(admission.reservation)
        await asyncio.sleep(0.01)
    assert (await gate.admit(charge(expected=10))).reservation.id
    running.cancel()
    await asyncio.wait([running])


class Deaf(EmbeddedStore):
    """Keeps to itself that who waits for it is cancelled, as a client does that is about to connect."""

    asked = False

    async def settle(self, batch: str, settlements: Sequence[Settlement]) -> None:
        self.asked = True
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await super().settle(batch, settlements)


async def test_a_gate_ends_although_its_store_does_not_pass_that_on(tmp_path: Path) -> None:
    """A worker that drains does not hang."""
    store, told = Deaf(tmp_path / "quota.db", lambda: 1_800_000_000.0), Told()
    gate = Gate(store, lasts=60.0, observer=told, notifier=told)
    running = asyncio.create_task(gate.run())
    gate.give_back((await gate.admit(charge())).reservation)
    async with asyncio.timeout(20):
        while not store.asked:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])


async def test_a_stream_reserves_more_until_there_is_no_more(stage: tuple[Gate, Fickle, Told]) -> None:
    """While nobody can count, it goes on."""
    gate, store, _ = stage
    reservation = (await gate.admit(charge(stream=True))).reservation
    assert reservation.output == 1
    more = await gate.extend(reservation, tokens=6, price=None)
    assert more is not None
    assert await gate.extend(reservation, tokens=4, price=None) is None
    assert await gate.extend(reservation, tokens=3, price=None) is not None
    store.away = True
    assert await gate.extend(reservation, tokens=99, price=None) is not None


async def test_a_limit_is_named_when_it_refuses(stage: tuple[Gate, Fickle, Told]) -> None:
    """To the client, and to telemetry by what it is of."""
    gate, _, told = stage
    limit = compile_limit(Limit.model_validate({"requestsPerMinute": 1, "name": "once"}))
    one = Charge(tariff=Tariff([limit], SUBJECT), demand=Demand(input=0, asked=None, most=None, prices=()))
    await gate.admit(one)
    with pytest.raises(RateLimited, match="once"):
        await gate.admit(one)
    assert ("once", "requests", "enforce") in told.said


async def until_shared_no_more(file: sqlite3.Connection) -> None:
    """Every process has given back its shares."""
    async with asyncio.timeout(20):
        while file.execute("SELECT 1 FROM share").fetchall():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)


async def test_who_goes_away_while_others_give_back_what_it_lacks_takes_nothing(
    stage: tuple[Gate, Fickle, Told], tmp_path: Path
) -> None:
    """Nor does it give back what it never had; a process that hands out shares is at a pace beside it."""
    gate, _, told = stage
    other = EmbeddedStore(tmp_path / "quota.db", lambda: 1_800_000_000.0)
    busy = Gate(other, lasts=60.0, observer=told, notifier=told)
    with contextlib.closing(sqlite3.connect(tmp_path / "quota.db")) as file:
        await gate.admit(charge(tokens=10_000))
        granted = 1
        await until_shared_no_more(file)
        while not file.execute("SELECT 1 FROM share WHERE instr(lines, 'budget')").fetchall():
            assert granted < 200
            await busy.admit(charge(tokens=10_000))
            granted += 1
        going = asyncio.create_task(gate.admit(charge(tokens=10_000, expected=10_000 - granted)))
        async with asyncio.timeout(20):
            while not file.execute("SELECT 1 FROM called_back").fetchall():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0)
        assert not going.done()
        going.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await going
        await until_shared_no_more(file)
        counted = "SELECT used, held FROM counted WHERE counter LIKE 'budget%'"
        assert file.execute(counted).fetchall() == [(0, granted)]
    await other.close()
