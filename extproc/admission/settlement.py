"""What an attempt's end means for what its request has reserved."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

from extproc.admission.charge import Held, Line, Settled, Settlement, Unit, Window
from extproc.admission.demand import billionths
from extproc.admission.small_change import SmallChange
from extproc.metering.rates import Price


class Growth(NamedTuple):
    """A budget's counter, for a stream that says more than was expected."""

    counter: str
    currency: str | None
    limit: int
    slot: int
    first: int
    ends: float | None
    until: float | None

    def line(self, tokens: int, price: Price | None) -> Line:
        """So many tokens more of an answer; without a price in the budget's currency they cost nothing."""
        amount = tokens
        if self.currency is not None:
            priced = price is not None and price.currency == self.currency
            amount = billionths(price.output.at(0) * tokens) if price is not None and priced else 0
        return Line(
            counter=self.counter,
            unit=Unit.TOKENS if self.currency is None else Unit.MONEY,
            amount=amount,
            measure=Window(limit=self.limit, slot=self.slot, first=self.first, ends=self.ends, until=self.until),
            currency=self.currency,
        )


class Reservation(NamedTuple):
    """What a request holds until it ends, and what its replies say of it. An empty ``id`` holds nothing."""

    id: str = ""
    held: tuple[Held, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    output: int | None = None
    """Tokens that a streamed answer may have before more has to be reserved; None where no budget counts them."""
    growths: tuple[Growth, ...] = ()
    """What that is reserved from."""


def growth_of(line: Line) -> Growth:
    """A budget's line, to take more from later."""
    window = line.measure
    if not isinstance(window, Window):  # a budget's never is anything else
        raise TypeError(line.counter)
    return Growth(
        counter=line.counter,
        currency=line.currency,
        limit=window.limit,
        slot=window.slot,
        first=window.first,
        ends=window.ends,
        until=window.until,
    )


NOTHING_HELD: Final = Reservation()


class Used(NamedTuple):
    """Tokens, and billionths of ``currency``: ``rest`` is less than one. Without a price there is no money to book."""

    tokens: int = 0
    money: int = 0
    currency: str | None = None
    rest: Decimal = Decimal(0)


NOTHING_USED: Final = Used()


def settle_attempt(
    reservation: Reservation, used: Used, change: SmallChange, *, final: bool, abandoned: bool = False
) -> Settlement | None:
    """Book an attempt; the last one gives back what was held. None where there is nothing to book.

    ``abandoned``: nobody can tell whether another follows. What would be missed until the reservation expires is given
    back at once: an attempt that does follow is booked all the same. A rate's tokens come back by themselves, and the
    attempt that follows would give them back a second time.
    """
    if not reservation.id:
        return None
    lines = []
    for counter, unit, slot, amount, currency in reservation.held:
        returned = amount if final or (abandoned and slot is not None) else 0
        actual = 0
        if unit is Unit.TOKENS:
            actual = used.tokens
        elif unit is Unit.MONEY and currency == used.currency:
            # A price in another currency is no price here: nothing is converted.
            actual = used.money + (change.add(counter, used.rest) if used.rest else 0)
        if actual or returned:
            lines.append(Settled(counter, slot, returned, actual))
    closes = final or abandoned
    return Settlement(reservation.id, tuple(lines), closes) if lines or closes else None
