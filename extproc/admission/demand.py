"""What a call is expected to use, before anybody is asked: its prompt, its answer, and what those would cost."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from extproc.config.limits import Estimator
from extproc.metering.cost import text_cost
from extproc.metering.rates import NANO, Price


class Demand(NamedTuple):
    """Tokens. ``asked`` is what the client wants at most for its answer, ``most`` what the model can give at most.

    ``prices`` are those of the backends that may answer; None where nobody knows one.
    """

    input: int
    asked: int | None
    most: int | None
    prices: tuple[Price | None, ...]
    images: int = 0

    def output(self, estimator: Estimator) -> int:
        """What is held for the answer."""
        if estimator.output == "requested":
            return self.asked or self.most or estimator.cap
        if self.asked is None and self.most is None:
            return estimator.cap
        bounds = [bound for bound in (self.asked, self.most) if bound is not None]
        return min(*bounds, estimator.cap)

    def money(self, output: int, currency: str) -> int:
        """Billionths of the currency: at the dearest backend, so that failing over to it is paid for, too."""
        # By identity: hashing a price takes longer than reckoning with it.
        known = {id(price): price for price in self.prices if price is not None and price.currency == currency}
        return max([self._billionths(output, price) for price in known.values()], default=0)

    def _billionths(self, output: int, price: Price) -> int:
        if self.images and price.image:
            return billionths(text_cost(self.input, output, price, images=self.images))
        return _text_billionths(self.input, output, price)


def _text_billionths(tokens: int, answer: int, price: Price) -> int:
    """Nearly every price is whole billionths for a token: with integers it takes a fifth of the time."""
    whole = price.billionths
    if whole is None:
        return billionths(text_cost(tokens, answer, price))
    request, read, written = whole
    return request + tokens * read + answer * written


def billionths(amount: Decimal) -> int:
    """Money as stores count it, rounded."""
    return int(amount.scaleb(NANO).to_integral_value(ROUND_HALF_EVEN))


def whole_billionths(amount: Decimal) -> tuple[int, Decimal]:
    """The same without rounding: how many, and what is left."""
    scaled = amount.scaleb(NANO)
    whole = int(scaled)
    return whole, scaled - whole


def spell_billionths(amount: int) -> str:
    """The same for people: two digits behind the point, more where they count."""
    text = f"{Decimal(amount).scaleb(-NANO):f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"{whole}.{part.ljust(2, '0')}"
