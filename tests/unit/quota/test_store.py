"""What every store keeps: the same for the embedded one and for a Redis server."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from extproc.admission.charge import Level, Line, Rate, Settled, Settlement, Unit, Window, held_lines
from extproc.quota.store import QuotaStore
from tests.unit.quota.conftest import Bench

NAMES = count()
LASTS = 100.0


def rate(
    amount: int = 1, *, capacity: int = 10, per_second: float = 1.0, enforced: bool = True, name: str = "r"
) -> Line:
    """From a bucket."""
    measure = Rate(capacity=capacity, per_second=per_second)
    return Line(counter=name, unit=Unit.REQUESTS, amount=amount, measure=measure, enforced=enforced)


def window(  # noqa: D103 - a sum's line, with the fields that a test is about
    amount: int = 1,
    *,
    limit: int = 10,
    slot: int = 0,
    first: int | None = None,
    ends: float | None = None,
    enforced: bool = True,
    name: str = "w",
) -> Line:
    measure = Window(limit=limit, slot=slot, first=slot if first is None else first, ends=ends, until=ends)
    return Line(counter=name, unit=Unit.TOKENS, amount=amount, measure=measure, enforced=enforced)


async def take(store: QuotaStore, *lines: Line, name: str | None = None) -> tuple[bool, list[Level]]:
    """Whether it was granted, and the levels."""
    reserved = await store.reserve(name or f"id{next(NAMES)}", lines, lasts=LASTS)
    return reserved.granted, list(reserved.levels)


async def settle(store: QuotaStore, name: str, *lines: Settled, closes: bool = True) -> None:
    """One settlement, a batch of its own."""
    await store.settle(f"b{next(NAMES)}", [Settlement(reservation=name, lines=lines, closes=closes)])


async def left(store: QuotaStore, line: Line) -> int:
    """What a counter has, without taking anything."""
    reserved = await store.reserve(f"id{next(NAMES)}", [line, window(2, limit=1, name="full")], lasts=LASTS)
    assert not reserved.granted
    return reserved.levels[0].free


async def test_a_bucket_is_emptied_and_runs_in_again(bench: Bench) -> None:
    """A burst of its capacity, then the rate."""
    for remaining in range(9, -1, -1):
        assert await take(bench.store, rate()) == (True, [Level(free=remaining, taken=True, wait=0.0)])
    granted, (level,) = await take(bench.store, rate(per_second=0.5))
    assert (granted, level.free, level.taken) == (False, 0, False)
    assert level.wait == pytest.approx(2.0, abs=0.5)
    bench.wait(3)
    assert await take(bench.store, rate(3)) == (True, [Level(free=0, taken=True, wait=0.0)])
    bench.wait(1_000)
    assert (await take(bench.store, rate(10)))[0]


async def test_a_bucket_never_grants_more_than_it_holds(bench: Bench) -> None:
    """Waiting would be in vain."""
    assert await take(bench.store, rate(11)) == (False, [Level(free=10, taken=False, wait=None)])


async def test_a_bucket_owes_when_more_was_used_than_taken(bench: Bench) -> None:
    """And is given back what was not used; never beyond its capacity."""
    await take(bench.store, rate(5), name="a")
    await settle(bench.store, "a", Settled(counter="r", slot=None, held=5, used=13))
    granted, (level,) = await take(bench.store, rate())
    assert (granted, level.free) == (False, -3)
    bench.wait(5)
    await take(bench.store, rate(2), name="b")
    await settle(bench.store, "b", Settled(counter="r", slot=None, held=2, used=0))
    assert await left(bench.store, rate()) == 2
    bench.wait(100)
    assert await left(bench.store, rate()) == 10


async def test_a_window_is_full_at_its_limit(bench: Bench) -> None:
    """Held and used alike; what the settlement did not use is free again."""
    ends = bench.now + 50
    assert await take(bench.store, window(10, ends=ends), name="a") == (True, [Level(free=0, taken=True, wait=0.0)])
    granted, (level,) = await take(bench.store, window(1, ends=ends))
    assert (granted, level.free) == (False, 0)
    assert level.wait == pytest.approx(50, abs=1)
    await settle(bench.store, "a", Settled(counter="w", slot=0, held=10, used=4))
    assert await left(bench.store, window(ends=ends)) == 6
    assert (await take(bench.store, window(6, ends=ends)))[0]


async def test_a_window_that_never_ends_has_nothing_to_wait_for(bench: Bench) -> None:
    """None, not an hour."""
    assert await take(bench.store, window(11)) == (False, [Level(free=10, taken=False, wait=None)])


async def test_nothing_is_taken_when_one_line_does_not_fit(bench: Bench) -> None:
    """Whichever of them comes first."""
    granted, levels = await take(bench.store, rate(4), window(11), window(3, name="other"))
    assert not granted
    assert [level.taken for level in levels] == [False, False, False]
    assert [level.wait for level in levels] == [0.0, None, 0.0]
    assert await left(bench.store, rate()) == 10
    assert await left(bench.store, window(name="other")) == 10


async def test_a_line_that_is_not_enforced_refuses_nothing(bench: Bench) -> None:
    """It is taken where it fits."""
    granted, levels = await take(bench.store, rate(4), window(11, enforced=False), rate(11, enforced=False, name="s"))
    assert granted
    assert [level.taken for level in levels] == [True, False, False]
    assert await left(bench.store, window()) == 10


async def test_slots_before_the_first_do_not_count(bench: Bench) -> None:
    """How windows begin anew, and how rolling ones roll."""
    for slot, expected in ((1, 8), (2, 6), (3, 4)):
        ends = bench.now + 1_000
        _, (level,) = await take(bench.store, window(2, slot=slot, first=1, ends=ends))
        assert level.free == expected
    assert await left(bench.store, window(slot=4, first=2, ends=bench.now + 9)) == 6
    assert await left(bench.store, window(slot=4, ends=bench.now + 9)) == 10


async def test_a_settlement_is_booked_where_its_reservation_was(bench: Bench) -> None:
    """A request that ends in the next window counts in the one that it began in."""
    ends = bench.now + 1_000
    await take(bench.store, window(2, slot=1, ends=ends), name="a")
    await take(bench.store, window(1, slot=2, first=1, ends=ends))
    await settle(bench.store, "a", Settled(counter="w", slot=1, held=2, used=7))
    assert await left(bench.store, window(slot=2, first=1, ends=ends)) == 2
    assert await left(bench.store, window(slot=2, ends=ends)) == 9


async def test_what_is_held_is_given_back_when_nobody_settles(bench: Bench) -> None:
    """And a settlement that comes after that books what was used all the same."""
    ends = bench.now + 10_000
    await take(bench.store, window(7, ends=ends), name="late")
    await take(bench.store, window(3, ends=ends), name="in-time")
    await settle(bench.store, "in-time", Settled(counter="w", slot=0, held=3, used=3))
    bench.wait(LASTS - 5)
    assert await left(bench.store, window(ends=ends)) == 0
    bench.wait(6)
    await bench.store.tend()
    assert await left(bench.store, window(ends=ends)) == 7
    await settle(bench.store, "late", Settled(counter="w", slot=0, held=7, used=2))
    assert await left(bench.store, window(ends=ends)) == 5


async def test_attempts_are_booked_before_the_last_gives_back(bench: Bench) -> None:
    """Each with its own use."""
    await take(bench.store, window(5, ends=bench.now + 99), name="a")
    await settle(bench.store, "a", Settled(counter="w", slot=0, held=0, used=2), closes=False)
    assert await left(bench.store, window()) == 3
    await settle(bench.store, "a", Settled(counter="w", slot=0, held=5, used=1))
    assert await left(bench.store, window()) == 7


async def test_a_batch_is_booked_once_when_it_is_sent_twice(bench: Bench) -> None:
    """Its answer got lost."""
    await take(bench.store, window(5, ends=bench.now + 99), name="a")
    line = Settled(counter="w", slot=0, held=5, used=4)
    for _ in range(2):
        await bench.store.settle("same", [Settlement(reservation="a", lines=(line,), closes=True)])
    assert await left(bench.store, window()) == 6


async def test_a_late_settlement_leaves_nothing_behind(bench: Bench) -> None:
    """Of a counter that nobody keeps any more."""
    line = Settled(counter="gone", slot=7, held=5, used=4)
    await settle(bench.store, "a", line, Settled(counter="gone-too", slot=None, held=1, used=4))
    assert await left(bench.store, window(name="gone", slot=7)) == 10
    assert await left(bench.store, rate(name="gone-too")) == 10


async def test_large_amounts_are_exact(bench: Bench) -> None:
    """Billionths of a million dollars, to the last one."""
    limit = 1_000_000 * 10**9
    ends = bench.now + 99
    await take(bench.store, window(limit - 1, limit=limit, ends=ends), name="a")
    await settle(bench.store, "a", Settled(counter="w", slot=0, held=limit - 1, used=limit - 3))
    assert await left(bench.store, window(limit=limit, ends=ends)) == 3


async def test_a_mark_is_set_once(bench: Bench) -> None:
    """Whoever asks, in whichever process."""
    other = bench.again()
    answers = [await store.first("m", until=bench.now + 9) for store in (bench.store, other, bench.store)]
    assert answers == [True, False, False]
    assert await other.first("n", until=None)


async def test_stores_share_what_they_count(bench: Bench) -> None:
    """Two workers, or two hosts."""
    other = bench.again()
    await take(bench.store, window(6), rate(6), name="a")
    assert (await take(other, window(5), rate(1)))[0] is False
    await settle(other, "a", Settled(counter="w", slot=0, held=6, used=0))
    assert (await take(other, window(5), rate(1)))[0] is True


async def test_never_more_is_granted_than_there_is_when_many_ask_at_once(bench: Bench) -> None:
    """To a thousand tasks over two connections."""
    stores = [bench.store, bench.again()]
    answers = await asyncio.gather(*(take(stores[n % 2], window(limit=100), rate(capacity=150)) for n in range(1_000)))
    assert sum(granted for granted, _ in answers) == 100


async def test_tending_keeps_what_still_counts(bench: Bench) -> None:
    """Here is nothing but what is over to be forgotten."""
    ends = bench.now + 10_000
    await take(bench.store, window(4, ends=ends), rate(4, per_second=0.001), name="a")
    bench.wait(50)
    await bench.store.tend()
    assert await left(bench.store, window(ends=ends)) == 6
    assert await left(bench.store, rate(per_second=0.001)) == 6


async def test_tending_gives_back_all_that_is_over(bench: Bench) -> None:
    """However much: who comes next finds it free."""
    lines = [window(2, limit=100), window(0, limit=100, name="nothing")]
    await asyncio.gather(*(take(bench.store, *lines) for _ in range(45)))
    bench.wait(LASTS + 10)
    await bench.store.tend()
    assert await left(bench.store, window(limit=100)) == 100


async def test_what_was_taken_can_be_settled(bench: Bench) -> None:
    """``held_lines`` is what the request carries along; what counts of a request is that it was made."""
    tokens = rate(2, name="tokens")._replace(unit=Unit.TOKENS)
    lines = [rate(2), tokens, window(3), window(11, enforced=False, name="shadow")]
    reserved = await bench.store.reserve("a", lines, lasts=LASTS)
    held = held_lines(lines, reserved)
    assert [(one.counter, one.slot, one.amount) for one in held] == [("tokens", None, 2), ("w", 0, 3)]
