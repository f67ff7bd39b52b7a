"""Money in two whole numbers: nothing is lost on the way, in a sum neither."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from extproc.ledger.money import joined, spell, split

AMOUNTS = st.decimals(min_value=0, max_value=10**9, allow_nan=False, allow_infinity=False, places=18)


@given(st.lists(AMOUNTS, max_size=20))
def test_sums_are_exact(amounts: list[Decimal]) -> None:
    """As a database adds the two columns up."""
    parts = [split(amount) for amount in amounts]
    total = joined(sum(nanos for nanos, _ in parts), sum(attos for _, attos in parts))
    assert total == sum(map(int, (amount.scaleb(18) for amount in amounts)), 0) * Decimal("1e-18")


@given(AMOUNTS)
def test_an_amount_is_written_without_exponent_and_read_back(amount: Decimal) -> None:
    """By people and by other programs."""
    text = spell(joined(*split(amount)))
    assert "E" not in text
    assert Decimal(text) == amount
