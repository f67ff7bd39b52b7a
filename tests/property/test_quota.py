"""Whatever is reserved and settled, in whatever order: nothing is lost, and nothing is made."""

from __future__ import annotations

import asyncio
import tempfile
from decimal import Decimal
from itertools import count
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.admission.charge import Held, Line, Unit, Window, held_lines
from extproc.admission.demand import whole_billionths
from extproc.admission.settlement import Reservation, Used, settle_attempt
from extproc.admission.small_change import SmallChange
from extproc.quota.embedded import EmbeddedStore

LIMIT = 100
_BATCHES = count()
REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 40),  # expected
        st.lists(st.integers(0, 60), max_size=3),  # used by attempts before the last
        st.integers(0, 60),  # used by the last
        st.booleans(),  # whether it ends at all
    ),
    max_size=12,
)


@given(requests=REQUESTS)
@settings(max_examples=60)
def test_reserving_and_settling_conserve(requests: list[tuple[int, list[int], int, bool]]) -> None:
    """What is left is the limit less what was used and what is held still; grants never passed the limit."""
    asyncio.run(_check(requests))


async def _check(requests: list[tuple[int, list[int], int, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder) / "quota.db", lambda: 0.0)
        window = Window(limit=LIMIT, slot=1, first=1, ends=9.0, until=9.0)
        free = LIMIT
        for number, (expected, before, last, ends) in enumerate(requests):
            line = Line(counter="c", unit=Unit.TOKENS, amount=expected, measure=window)
            reserved = await store.reserve(f"r{number}", [line], lasts=5.0)
            assert reserved.granted == (expected <= free)
            if not reserved.granted:
                assert reserved.levels[0].free == free
                continue
            free -= expected
            assert reserved.levels[0].free == free
            reservation = Reservation(id=f"r{number}", held=held_lines([line], reserved))
            for used in before:
                free -= await _settle(store, reservation, used, final=False)
            if ends:
                free -= await _settle(store, reservation, last, final=True) - expected
        left = await store.reserve("left", [Line(counter="c", unit=Unit.TOKENS, amount=0, measure=window)], lasts=5.0)
        assert left.levels[0].free == free
        await store.close()


async def _settle(store: EmbeddedStore, reservation: Reservation, used: int, *, final: bool) -> int:
    settlement = settle_attempt(reservation, Used(tokens=used), SmallChange(), final=final)
    if settlement is not None:
        await store.settle(f"batch{next(_BATCHES)}", [settlement])
    return used


@given(requests=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40), st.integers(0, 60)), max_size=12))
@settings(max_examples=60)
def test_two_processes_conserve_what_they_share(requests: list[tuple[int, int, int]]) -> None:
    """Whoever of them is asked, and however many share a transaction: rows that are remembered are never old."""
    asyncio.run(_check_two(requests))


async def _check_two(requests: list[tuple[int, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stores = [EmbeddedStore(Path(folder) / "quota.db", lambda: 0.0) for _ in range(2)]
        window = Window(limit=LIMIT, slot=1, first=1, ends=9.0, until=9.0)

        async def one(number: int, which: int, expected: int, used: int) -> int:
            line = Line(counter="c", unit=Unit.TOKENS, amount=expected, measure=window)
            reserved = await stores[which].reserve(f"r{number}", [line], lasts=5.0)
            if not reserved.granted:
                return 0
            reservation = Reservation(id=f"r{number}", held=held_lines([line], reserved))
            return await _settle(stores[1 - which], reservation, used, final=True)

        spent = sum(await asyncio.gather(*[one(number, *request) for number, request in enumerate(requests)]))
        for number, store in enumerate(stores):
            look = Line(counter="c", unit=Unit.TOKENS, amount=0, measure=window)
            assert (await store.reserve(f"look{number}", [look], lasts=5.0)).levels[0].free == LIMIT - spent
        for store in stores:
            await store.close()


@given(bills=st.lists(st.decimals(min_value=0, max_value=1, places=15), max_size=30))
def test_what_is_booked_is_all_the_bills_to_the_last_billionth(bills: list[Decimal]) -> None:
    """However fine the prices are."""
    change = SmallChange()
    held = (Held(counter="m", unit=Unit.MONEY, slot=1, amount=0, currency="USD"),)
    booked = 0
    for bill in bills:
        whole, rest = whole_billionths(bill)
        used = Used(money=whole, currency="USD", rest=rest)
        settlement = settle_attempt(Reservation(id="r", held=held), used, change, final=True)
        booked += sum(line.used for line in settlement.lines) if settlement else 0
    assert booked == int(sum(bills, Decimal(0)).scaleb(9))


@given(
    expected=st.integers(0, 10**12),
    attempts=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**12)), min_size=1, max_size=4),
)
def test_a_request_is_booked_for_all_its_attempts_and_gives_back_what_it_held(
    expected: int, attempts: list[tuple[int, int]]
) -> None:
    """Tokens and money alike; places are neither used up nor kept."""
    held = (
        Held(counter="t", unit=Unit.TOKENS, slot=1, amount=expected),
        Held(counter="m", unit=Unit.MONEY, slot=1, amount=expected, currency="USD"),
        Held(counter="e", unit=Unit.MONEY, slot=1, amount=expected, currency="EUR"),
        Held(counter="c", unit=Unit.CONCURRENT, slot=0, amount=1),
    )
    reservation = Reservation(id="a", held=held)
    booked = dict.fromkeys("tmec", 0)
    returned = dict.fromkeys("tmec", 0)
    for number, (tokens, money) in enumerate(attempts, start=1):
        used = Used(tokens=tokens, money=money, currency="USD")
        settlement = settle_attempt(reservation, used, SmallChange(), final=number == len(attempts))
        for line in settlement.lines if settlement else ():
            booked[line.counter] += line.used
            returned[line.counter] += line.held
    tokens, money = sum(one for one, _ in attempts), sum(one for _, one in attempts)
    assert booked == {"t": tokens, "m": money, "e": 0, "c": 0}
    assert returned == {"t": expected, "m": expected, "e": expected, "c": 1}
