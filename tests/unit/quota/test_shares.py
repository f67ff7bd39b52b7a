"""What a process hands out without asking: it is held for it, it is written, and it comes back."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from pathlib import Path

import orjson
import pytest

from extproc.admission.charge import Line, Rate, Reserved, Settled, Settlement, Unit, Window
from extproc.quota import transaction
from extproc.quota.bookings import Bookings
from extproc.quota.counters import LARGEST
from extproc.quota.embedded import EmbeddedStore
from extproc.quota.shares import EVERY
from extproc.quota.store import StoreUnavailable

NOW = 1_800_000_000.0
LASTS = 100.0
LIMIT = 10_000
WINDOW = Window(limit=LIMIT, slot=5, first=5, ends=NOW + 9_999, until=NOW + 9_999)
RATE = Rate(capacity=LIMIT, per_second=1.0)
NAMES = count()


class Host:
    """Its processes share a file and a clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = NOW
        self.stores: list[EmbeddedStore] = []

    def process(self) -> EmbeddedStore:
        """One more."""
        self.stores.append(EmbeddedStore(self.path, lambda: self.now))
        return self.stores[-1]

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        """What the file says."""
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            return database.execute(statement).fetchall()

    def shared(self, counter: str = "b") -> int:
        """How much of a counter processes have in shares."""
        lines = [part for (blob,) in self.rows("SELECT lines FROM share") for part in orjson.loads(str_of(blob))]
        return sum(granted for name, _, granted in lines if name == counter)

    def counted(self, counter: str = "b") -> list[tuple[object, ...]]:
        """What is used and held of it."""
        return self.rows(f"SELECT used, held FROM counted WHERE counter = '{counter}'")  # noqa: S608 - a test's own

    def open(self) -> set[object]:
        """The reservations that are written, and those of which there is word only."""
        return {name for (name,) in self.rows("SELECT id FROM reservation")}


def str_of(blob: object) -> bytes:
    """A column's bytes."""
    assert isinstance(blob, bytes)
    return blob


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    """Without processes yet."""
    host = Host(tmp_path / "quota.db")
    yield host
    for store in host.stores:
        await store.close()


def line(amount: int = 10, *, measure: Window | Rate = WINDOW, counter: str = "b", enforced: bool = True) -> Line:
    """Of a budget in tokens."""
    return Line(counter, Unit.TOKENS, amount, measure, enforced)


def ended(name: str, *, used: int, held: int = 10, slot: int | None = 5, closes: bool = True) -> Settlement:
    """A request's attempt."""
    return Settlement(name, (Settled("b", slot, held, used),), closes)


async def ask(store: EmbeddedStore, lines: Sequence[Line], name: str | None = None) -> Reserved:
    """As the gate does."""
    name = name or f"r{next(NAMES)}"
    here = store.reserve_here(name, lines, lasts=LASTS)
    return here if here is not None else await store.reserve(name, lines, lasts=LASTS)


async def free(store: EmbeddedStore, asked: Line | None = None) -> int:
    """What a process without shares sees: no other is asked to give any back, for the line never fits."""
    more = (asked or line())._replace(amount=1 << 60)
    return (await store.reserve(f"look{next(NAMES)}", [more], lasts=LASTS)).levels[0].free


async def at_a_pace(store: EmbeddedStore, lines: Sequence[Line] | None = None) -> int:
    """Requests until one needs no transaction: how many, that one included."""
    for number in range(200):
        name = f"r{next(NAMES)}"
        if store.reserve_here(name, lines or [line()], lasts=LASTS) is not None:
            return number + 1
        assert (await store.reserve(name, lines or [line()], lasts=LASTS)).granted
    pytest.fail("there are no shares")


async def until(condition: Callable[[], bool]) -> None:
    """It is so, soon."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.005)


def stop(store: EmbeddedStore) -> None:
    """As a process that is stopped: it does not see to its shares."""
    timer = store._again  # noqa: SLF001 - nothing else of a process that only stops can be seen
    assert timer is not None
    timer.cancel()


def statements(store: EmbeddedStore) -> list[str]:
    """What it asks its database from here on."""
    said: list[str] = []
    store._database.set_trace_callback(said.append)  # noqa: SLF001 - what is asked is what is tested
    return said


def unexpected(what: object) -> None:
    """Nobody should say this."""
    pytest.fail(str(what))


async def anything(store: EmbeddedStore) -> None:
    """A transaction."""
    await store.first(f"m{next(NAMES)}", until=None)


async def test_requests_at_a_pace_need_no_transaction(host: Host) -> None:
    """Who is alone is told what is left, to the last token, before and after they are settled."""
    store = host.process()
    left = LIMIT - 10 * await at_a_pace(store)
    said = statements(store)
    levels = [store.reserve_here(f"h{number}", [line()], lasts=LASTS) for number in range(3)]
    assert [one.levels for one in levels if one is not None] == [((left - n * 10, True, 0.0),) for n in (1, 2, 3)]
    assert store.settle_here(ended("h0", used=4))
    assert store.settle_here(ended("h1", used=12))
    here = store.reserve_here("h3", [line(0)], lasts=LASTS)
    assert here is not None
    assert here.levels[0].free == left - 4 - 12 - 10
    assert said == []
    assert await free(store) == left - 4 - 12 - 10
    assert said


async def test_what_a_share_holds_nobody_else_is_granted(host: Host) -> None:
    """And whoever has it can hand out all of it."""
    store, other = host.process(), host.process()
    taken = 10 * await at_a_pace(store)
    stop(store)
    while (here := store.reserve_here(f"r{next(NAMES)}", [line()], lasts=LASTS)) is not None and here.granted:
        taken += 10
    rest = await free(other)
    assert host.shared() >= 40
    assert (await other.reserve("all", [line(rest)], lasts=LASTS)).granted
    assert LIMIT - 10 < taken + rest <= LIMIT
    assert not (await other.reserve("more", [line(10)], lasts=LASTS)).granted


async def test_a_share_is_an_eighth_of_what_is_free_at_most(host: Host) -> None:
    """However many ask."""
    store = host.process()
    await at_a_pace(store, [line(100)])
    stop(store)
    before = await free(host.process(), line()) + host.shared()
    assert 0 < host.shared() <= before // 8


async def test_near_the_end_of_what_is_free_there_are_no_shares(host: Host) -> None:
    """Every request is judged where all are."""
    store = host.process()
    near = WINDOW._replace(limit=310)
    for number in range(31):
        assert store.reserve_here(f"h{number}", [line(measure=near)], lasts=LASTS) is None
        assert (await store.reserve(f"h{number}", [line(measure=near)], lasts=LASTS)).granted
        assert host.shared() == 0
    assert not (await store.reserve("over", [line(1, measure=near)], lasts=LASTS)).granted


@pytest.mark.parametrize("second", [0, 10])
async def test_what_is_left_comes_back_when_nobody_asks_any_more(host: Host, second: int) -> None:
    """Also a share of a counter that costs nothing is one for as long as it is asked for. Then the process rests."""
    store, other = host.process(), host.process()
    lines = [line(), line(second, counter="c")]
    taken = 10 * await at_a_pace(store, lines)
    assert await free(other) < LIMIT - taken
    await until(lambda: not host.rows("SELECT 1 FROM share"))
    assert await free(other) == LIMIT - taken
    said = statements(store)
    await asyncio.sleep(3 * EVERY)
    assert said == []


@pytest.mark.parametrize("is_written", [False, True])
async def test_who_settles_elsewhere_may_be_sooner_than_who_writes(host: Host, *, is_written: bool) -> None:
    """Nothing stays held either way, and no word of it is left."""
    store, other = host.process(), host.process()
    taken = 10 * await at_a_pace(store)
    assert store.reserve_here("mine", [line()], lasts=LASTS) is not None
    if is_written:
        await anything(store)
        assert "mine" in host.open()
    await other.settle("s", [ended("mine", used=3)])
    await anything(store)
    await until(lambda: host.shared() == 0)
    assert host.counted() == [(3, taken)]
    assert "mine" not in host.open()


async def test_an_attempt_elsewhere_is_booked_before_its_reservation_is_written(host: Host) -> None:
    """The last one, here, gives back what is held, once."""
    store, other = host.process(), host.process()
    taken = 10 * await at_a_pace(store)
    assert store.reserve_here("mine", [line()], lasts=LASTS) is not None
    await other.settle("s", [ended("mine", used=3, held=0, closes=False)])
    assert store.settle_here(ended("mine", used=4))
    await until(lambda: host.shared() == 0)
    assert host.counted() == [(7, taken)]


@pytest.mark.parametrize("is_elsewhere", [False, True])
async def test_an_abandoned_request_may_have_another_attempt(host: Host, *, is_elsewhere: bool) -> None:
    """What the first has given back, the second does not."""
    store, other = host.process(), host.process()
    taken = 10 * await at_a_pace(store)
    assert store.reserve_here("mine", [line()], lasts=LASTS) is not None
    first, second = ended("mine", used=2), ended("mine", used=5)
    if is_elsewhere:
        await other.settle("s1", [first])
        assert store.settle_here(second)
    else:
        assert store.settle_here(first)
        assert not store.settle_here(second)
        await other.settle("s2", [second])
    await until(lambda: host.shared() == 0)
    assert host.counted() == [(7, taken)]


async def test_who_is_about_to_be_refused_gets_what_others_have_in_shares(host: Host) -> None:
    """They give it back, and take none for a while; the request has only waited."""
    store, other = host.process(), host.process()
    taken = 10 * await at_a_pace(store)
    assert host.shared() > 0
    assert (await other.reserve("all", [line(LIMIT - taken)], lasts=LASTS)).granted
    assert host.rows("SELECT counter FROM called_back") == [("b",)]


async def test_what_was_called_back_is_not_taken_again_at_once(host: Host) -> None:
    """Until then requests have transactions of their own."""
    store, other = host.process(), host.process()
    taken = 10 * await at_a_pace(store)
    assert (await other.reserve("all", [line(LIMIT - taken)], lasts=LASTS)).granted
    await other.settle("s", [ended("all", used=0, held=LIMIT - taken)])
    for number in range(10):
        assert store.reserve_here(f"h{number}", [line()], lasts=LASTS) is None
        assert (await store.reserve(f"h{number}", [line()], lasts=LASTS)).granted
    host.now += 2
    await other.tend()
    assert host.rows("SELECT counter FROM called_back") == []
    await at_a_pace(store)


async def test_nothing_is_called_back_for_who_would_be_refused_all_the_same(host: Host) -> None:
    """It is told at once, and the others go on."""
    store, other = host.process(), host.process()
    await at_a_pace(store)
    said = statements(other)
    rest, shared = await free(other), host.shared()
    assert not (await other.reserve("over", [line(rest + shared + 1)], lasts=LASTS)).granted
    assert said.count("BEGIN IMMEDIATE") == 2
    assert host.rows("SELECT counter FROM called_back") == []


async def test_a_part_of_a_rolling_window_is_called_back_in_the_next(host: Host) -> None:
    """It is in the sum still."""
    store, other = host.process(), host.process()
    part, following = WINDOW._replace(first=0), WINDOW._replace(slot=6, first=1)
    taken = 10 * await at_a_pace(store, [line(measure=part)])
    assert host.shared() > 0
    assert (await other.reserve("all", [line(LIMIT - taken, measure=following)], lasts=LASTS)).granted


async def test_the_share_of_a_process_that_is_gone_expires(host: Host) -> None:
    """With all that it has handed out of it. Nobody waits for it."""
    store, other = host.process(), host.process()
    await at_a_pace(store, [line(), line(measure=RATE, counter="r")])
    stop(store)
    host.now += LASTS - 1
    await other.tend()
    assert host.shared() > 0
    assert not (await other.reserve("all", [line(LIMIT - host.shared())], lasts=LASTS)).granted
    assert host.rows("SELECT counter FROM called_back") == []
    host.now += 1
    await other.tend()
    assert await free(other) == LIMIT
    assert host.shared() == 0
    host.now += LIMIT
    assert await free(other, line(measure=RATE, counter="r")) == LIMIT


async def test_a_process_that_was_stopped_for_long_hands_out_nothing_of_its_share(host: Host) -> None:
    """It is somebody else's; what was handed out of it before has expired with it, as any reservation does."""
    store, other = host.process(), host.process()
    await at_a_pace(store)
    assert store.reserve_here("mine", [line()], lasts=LASTS) is not None
    assert store.reserve_here("settled", [line()], lasts=LASTS) is not None
    stop(store)
    host.now += LASTS
    await other.tend()
    assert await free(other) == LIMIT
    assert store.reserve_here("more", [line()], lasts=LASTS) is None
    assert store.settle_here(ended("settled", used=3))
    await anything(store)
    assert "mine" not in host.open()
    assert host.counted() == [(3, host.shared())]
    await other.settle("s", [ended("mine", used=4)])
    await until(lambda: host.counted() == [(7, host.shared())])


async def test_closing_writes_what_was_handed_out(host: Host) -> None:
    """And gives back the rest: the next process goes on from there."""
    store = host.process()
    taken = 10 * await at_a_pace(store)
    for name in ("open", "settled"):
        assert store.reserve_here(name, [line()], lasts=LASTS) is not None
    assert store.settle_here(ended("settled", used=7))
    await host.stores.pop().close()
    assert host.shared() == 0
    assert host.counted() == [(7, taken + 10)]
    assert "open" in host.open()
    other = host.process()
    await other.settle("s", [ended("open", used=1)])
    assert await free(other) == LIMIT - taken - 8


async def test_a_store_that_could_not_be_written_is_closed_all_the_same(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hands out nothing more, and does not look after its shares any longer."""
    monkeypatch.setattr(transaction, "_PATIENCE", 3 * EVERY)
    store = host.process()
    await at_a_pace(store)
    tried: list[object] = []
    with contextlib.closing(sqlite3.connect(host.path, isolation_level=None)) as locking:
        locking.execute("BEGIN IMMEDIATE")
        # The timer of its shares comes while it waits, and what that asks for waits longer.
        await store.close()
        assert store.reserve_here("late", [line()], lasts=LASTS) is None
        monkeypatch.setattr(store._shared, "do", tried.append)  # noqa: SLF001 - whether it is asked is what is tested
        await asyncio.sleep(10 * EVERY)
    assert tried == []


async def test_a_window_that_has_ended_is_judged_anew(host: Host) -> None:
    """What was handed out of the one before is booked there."""
    store = host.process()
    taken = 10 * await at_a_pace(store)
    following = WINDOW._replace(slot=6, first=6)
    assert store.reserve_here("yesterday", [line()], lasts=LASTS) is not None
    assert store.reserve_here("today", [line(measure=following)], lasts=LASTS) is None
    reserved = await store.reserve("today", [line(measure=following)], lasts=LASTS)
    assert reserved.levels[0].free == LIMIT - 10
    assert not store.settle_here(ended("yesterday", used=4))
    await store.settle("s", [ended("yesterday", used=4)])
    await until(lambda: host.shared() == 0)
    rows = "SELECT slot, used, held FROM counted ORDER BY slot"
    assert host.rows(rows) == [(5, 4, taken), (6, 0, 10)]


@pytest.mark.parametrize(
    ("before", "after"), [(WINDOW, WINDOW._replace(limit=500)), (RATE, Rate(capacity=500, per_second=1.0))]
)
async def test_another_limit_is_judged_anew(host: Host, before: Window | Rate, after: Window | Rate) -> None:
    """A config was loaded that says less."""
    store = host.process()
    taken = 10 * await at_a_pace(store, [line(measure=before)])
    assert store.reserve_here("anew", [line(measure=after)], lasts=LASTS) is None
    reserved = await store.reserve("anew", [line(measure=after)], lasts=LASTS)
    assert reserved.levels[0].free == 500 - taken - 10


async def test_the_same_limit_read_again_is_the_same(host: Host) -> None:
    """Nor does it matter that a window of concurrent requests ends later for each."""
    store = host.process()
    lines = [line(), line(measure=RATE, counter="r")]
    await at_a_pace(store, lines)
    later = WINDOW._replace(until=NOW + 10_000)
    again = [line(measure=later), line(measure=Rate(capacity=LIMIT, per_second=1.0), counter="r")]
    assert store.reserve_here("again", again, lasts=LASTS) is not None


async def test_two_lines_of_one_counter_are_both_taken(host: Host) -> None:
    """Here, too."""
    store = host.process()
    taken = 10 * await at_a_pace(store)
    assert store.reserve_here("twice", [line(), line(20)], lasts=LASTS) is not None
    await until(lambda: host.shared() == 0)
    assert host.counted() == [(0, taken + 30)]


async def test_what_lacks_a_share_of_one_counter_takes_nothing_of_the_others(host: Host) -> None:
    """It is asked for in a transaction."""
    store = host.process()
    taken = 10 * await at_a_pace(store)
    reserved = store.reserve_here("before", [line()], lasts=LASTS)
    assert store.reserve_here("lacks", [line(), line(counter="another")], lasts=LASTS) is None
    after = store.reserve_here("after", [line()], lasts=LASTS)
    assert reserved is not None
    assert after is not None
    assert after.levels[0].free == reserved.levels[0].free - 10
    await until(lambda: host.shared() == 0)
    assert host.counted() == [(0, taken + 20)]


async def test_a_shadow_limit_that_is_used_up_refuses_nothing(host: Host) -> None:
    """It has no share; where it has, it is taken as any other is."""
    store = host.process()
    shadow = line(measure=WINDOW._replace(limit=5), counter="shadow", enforced=False)
    for number in range(5):
        assert store.reserve_here(f"h{number}", [line(), shadow], lasts=LASTS) is None
        reserved = await store.reserve(f"h{number}", [line(), shadow], lasts=LASTS)
        assert [level.taken for level in reserved.levels] == [True, False]
    await at_a_pace(store, [line(), line(counter="wide", enforced=False)])
    await until(lambda: host.shared() == 0)
    assert host.counted("wide") != []
    assert host.counted("shadow") == []


@pytest.mark.parametrize(("measure", "slot"), [(WINDOW, 5), (RATE, None)])
async def test_a_use_that_no_column_holds_stays_at_the_largest(
    host: Host, measure: Window | Rate, slot: int | None
) -> None:
    """Whatever servers report: the process is not stuck, and all is used up. Here, and in a transaction."""
    store = host.process()
    await at_a_pace(store, [line(measure=measure)])
    assert store.reserve_here("mine", [line(measure=measure)], lasts=LASTS) is not None
    host.now += 0.5
    assert store.settle_here(ended("mine", used=10**400, slot=slot))
    assert store.reserve_here("more", [line(measure=measure)], lasts=LASTS) is None
    assert not (await store.reserve("more", [line(measure=measure)], lasts=LASTS)).granted
    host.now += 0.5
    await free(store, line(measure=measure))
    await store.settle("s", [ended("other", used=10**400, held=0, slot=slot)])
    assert await free(store, line(measure=measure)) <= LIMIT - LARGEST // 2
    assert (await store.reserve("else", [line(counter="else")], lasts=LASTS)).granted


@pytest.mark.parametrize("measure", [WINDOW, RATE])
async def test_who_asks_for_more_than_there_can_be_does_not_stop_the_others(host: Host, measure: Window | Rate) -> None:
    """A client may write any number."""
    store = host.process()
    await ask(store, [line(measure=measure)])
    host.now += 0.5
    for _ in range(2):
        assert not (await ask(store, [line(10**400, measure=measure)])).granted
    await at_a_pace(store, [line(measure=measure)])


async def test_what_fails_for_one_is_counted_once_for_the_others(host: Host) -> None:
    """Their transaction is undone and done again for each, and so is what was handed out before it."""
    store = host.process()
    taken = 10 * await at_a_pace(store)
    assert store.reserve_here("mine", [line()], lasts=LASTS) is not None
    assert store.settle_here(ended("mine", used=6))
    assert store.reserve_here("open", [line()], lasts=LASTS) is not None
    bad = Settlement("bad", (Settled("b", 5, 1 << 70, 0),), closes=False)
    answers = await asyncio.gather(
        anything(store),
        store.settle("bad", [bad]),
        store.reserve("a", [line()], lasts=LASTS),
        store.settle("good", [ended("open", used=2)]),
        store.reserve("b", [line()], lasts=LASTS),
        return_exceptions=True,
    )
    assert isinstance(answers[1], OverflowError)
    await until(lambda: host.shared() == 0)
    assert host.counted() == [(8, taken + 20)]


async def test_while_the_file_cannot_be_had_shares_are_handed_out(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """And given back as soon as it can be."""
    monkeypatch.setattr(transaction, "_PATIENCE", EVERY)
    store = host.process()
    taken = 10 * await at_a_pace(store)
    with contextlib.closing(sqlite3.connect(host.path, isolation_level=None)) as locking:
        locking.execute("BEGIN IMMEDIATE")
        assert store.reserve_here("here", [line()], lasts=LASTS) is not None
        with pytest.raises(StoreUnavailable):
            await store.reserve("there", [line()], lasts=LASTS)
        assert store.reserve_here("later", [line()], lasts=LASTS) is not None
        assert store.settle_here(ended("here", used=4))
        await asyncio.sleep(3 * EVERY)
        locking.execute("COMMIT")
    await until(lambda: host.shared() == 0)
    assert host.counted() == [(4, taken + 10)]


async def test_what_holds_nothing_leaves_no_word_when_it_is_settled(host: Host) -> None:
    """As all do that are counted by rates alone, and were written in a transaction, or not at all."""
    store = host.process()
    assert (await store.reserve("a", [line(measure=RATE)], lasts=LASTS)).granted
    await store.settle("s", [ended("a", used=3, slot=None)])
    assert host.open() == set()


async def test_a_counter_that_nobody_keeps_any_more_is_not_made_again(host: Host) -> None:
    """By a process that was stopped for days, and what was settled elsewhere meanwhile."""
    store, other = host.process(), host.process()
    await at_a_pace(store)
    assert store.reserve_here("mine", [line()], lasts=LASTS) is not None
    stop(store)
    host.now += 10_000 + 2 * 86_400
    await other.tend()
    await other.settle("s", [ended("mine", used=3)])
    assert host.counted() == []
    await host.stores.pop(0).close()
    assert host.counted() == []
    assert "mine" not in host.open()


async def test_settlements_that_wait_in_line_do_not_wait_for_shares(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch takes a few; with shares, no request's transaction takes the next along."""
    store = host.process()
    await at_a_pace(store)
    waits: list[float] = []
    do = store._shared.do  # noqa: SLF001 - how long it may wait is what is tested

    def recorded(work: Callable[[], object], *, within: float = 0.0) -> asyncio.Future[object]:
        if within:
            waits.append(within)
        return do(work, within=within)

    monkeypatch.setattr(store._shared, "do", recorded)  # noqa: SLF001 - as above
    bookings = Bookings(store, lambda: f"batch{next(NAMES)}", away=unexpected, lost=unexpected)
    for number in range(100):
        bookings.add(ended(f"x{number}", used=1, held=0, closes=False))
    while not host.rows("SELECT 1 FROM counted WHERE used = 100"):
        assert (await ask(store, [line(1)])).granted
        await asyncio.sleep(0.005)
    assert waits[0] == EVERY
    assert len(waits) > 2
    assert max(waits[1:]) < EVERY


async def test_what_costs_nothing_has_shares_for_as_long_as_it_is_asked_for(host: Host) -> None:
    """Its pace is told by its requests."""
    store = host.process()
    await at_a_pace(store, [line(0)])
    for number in range(50):
        assert store.reserve_here(f"h{number}", [line(0)], lasts=LASTS) is not None
    said = statements(store)
    await until(lambda: "COMMIT" in said)
    assert host.shared() > 0


async def test_what_others_have_in_shares_is_shown_as_left(host: Host) -> None:
    """They have not used most of it; headers would jump by an eighth otherwise, from one worker to the other."""
    first, second = host.process(), host.process()
    written = await at_a_pace(first) - 1
    stop(first)
    assert host.shared() > 0
    reserved = await second.reserve("second", [line()], lasts=LASTS)
    assert reserved.levels[0].free == LIMIT - 10 * written - 10
    found = await at_a_pace(second)
    here = second.reserve_here("here", [line()], lasts=LASTS)
    assert here is not None
    assert here.levels[0].free == LIMIT - 10 * (written + 1 + found + 1)


@pytest.mark.parametrize("is_waited_for", [True, False])
async def test_a_place_that_others_wait_for_is_given_back_before_shares_are(host: Host, *, is_waited_for: bool) -> None:
    """A limit on few requests at once has no shares; the next of them may be another worker's."""
    store = host.process()
    place = Line("few", Unit.CONCURRENT, 1, Window(2, 0, 0, None, None))
    assert (await store.reserve("request", [place] if is_waited_for else [line()], lasts=LASTS)).granted
    await at_a_pace(store)
    settled = Settled("few", 0, 1, 0) if is_waited_for else Settled("b", 5, 10, 1)
    settlement = Settlement("request", (settled,), closes=True)
    assert not store.settle_here(settlement)
    booked = store.settle("s", [settlement])
    timer = store._shared._later  # noqa: SLF001 - how soon it comes is what is tested
    assert isinstance(timer, asyncio.TimerHandle)
    assert (timer.when() < asyncio.get_running_loop().time() + EVERY / 2) == is_waited_for
    await booked
    assert "request" not in host.open()


async def test_who_is_refused_is_shown_what_others_have_in_shares_too(host: Host) -> None:
    """A threshold would be told of too early otherwise, and once for all."""
    first, second = host.process(), host.process()
    written = await at_a_pace(first) - 1
    stop(first)
    too_much = Line("small", Unit.TOKENS, 2, WINDOW._replace(limit=1))
    reserved = await second.reserve("second", [line(), too_much], lasts=LASTS)
    assert not reserved.granted
    assert [level.free for level in reserved.levels] == [LIMIT - 10 * written, 1]


async def test_a_shadow_limit_is_taken_from_what_others_have_in_shares(host: Host) -> None:
    """What fits but for their shares is no reason to say that it would have been refused."""
    first, second = host.process(), host.process()
    written = await at_a_pace(first) - 1
    stop(first)
    amount = LIMIT - 10 * written - host.shared() // 2
    reserved = await second.reserve("second", [line(amount, enforced=False)], lasts=LASTS)
    assert (reserved.levels[0].taken, reserved.levels[0].wait) == (True, 0.0)
    again = await second.reserve("again", [line(amount, enforced=False)], lasts=LASTS)
    assert not again.levels[0].taken


async def test_what_costs_nothing_holds_nothing(host: Host) -> None:
    """Nobody would give it back, where it is settled elsewhere before it is written."""
    store, other = host.process(), host.process()
    await at_a_pace(store, [line(0)])
    assert store.reserve_here("free", [line(0)], lasts=LASTS) is not None
    await other.settle("s", [Settlement("free", (), closes=True)])
    await until(lambda: host.shared() == 0)
    assert host.open() == set()
