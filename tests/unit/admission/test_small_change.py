"""Bills finer than a billionth are booked to the last one, however many there are."""

from __future__ import annotations

from decimal import Decimal

import pytest

from extproc.admission import small_change
from extproc.admission.charge import Held, Unit
from extproc.admission.demand import whole_billionths
from extproc.admission.settlement import Reservation, Used, settle_attempt
from extproc.admission.small_change import SmallChange

BUDGETS = Reservation(
    id="r",
    held=(
        Held(counter="month", unit=Unit.MONEY, slot=1, amount=0, currency="USD"),
        Held(counter="euros", unit=Unit.MONEY, slot=1, amount=0, currency="EUR"),
    ),
)


def test_what_is_left_of_a_bill_is_booked_with_the_next() -> None:
    """A thousand answers of 37.4 billionths each are 37,400; each alone would be 37."""
    change, booked = SmallChange(), 0
    money, rest = whole_billionths(Decimal("0.0000000374"))
    assert (money, rest) == (37, Decimal("0.4"))
    for _ in range(1_000):
        settlement = settle_attempt(BUDGETS, Used(money=money, currency="USD", rest=rest), change, final=True)
        assert settlement is not None
        assert [line.counter for line in settlement.lines] == ["month"]
        booked += settlement.lines[0].used
    assert booked == 37_400


def test_each_counter_has_its_own() -> None:
    """Not every bill is for every budget."""
    change = SmallChange()
    assert [change.add(counter, Decimal("0.6")) for counter in "abab"] == [0, 0, 1, 1]
    assert [change.add(counter, Decimal("0.7")) for counter in "ab"] == [0, 0]
    assert change.add("a", Decimal("0.1")) == 1


def test_it_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counter that has waited longest loses less than a billionth."""
    monkeypatch.setattr(small_change, "_MOST_COUNTERS", 2)
    change = SmallChange()
    for counter in "abc":
        change.add(counter, Decimal("0.5"))
    assert [change.add(counter, Decimal("0.5")) for counter in "cba"] == [1, 1, 0]
