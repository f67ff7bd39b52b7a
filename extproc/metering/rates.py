"""A price as a value: what each kind of token costs, in exact decimals of one currency."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

_NOTHING: Final = Decimal(0)
NANO: Final = 9
"""Places behind the point of what budgets count money in: billionths."""


class PriceSource(StrEnum):
    """Who says so."""

    CONFIG = "config"
    """The backend's ``cost``."""
    LIST = "list"
    """The list of prices that ships with the gateway."""
    FREE = "free"
    """A model that is part of the gateway."""
    DEFAULT = "default"
    """The price that ``unpriced`` gives to models without one."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one token. ``tiers``: from more input tokens than the first number on, every token costs the second.

    Ascending. https://ai.google.dev/gemini-api/docs/pricing and its like: the whole call moves to the higher price.
    """

    base: Decimal
    tiers: tuple[tuple[int, Decimal], ...] = ()

    def at(self, input_tokens: int) -> Decimal:
        """The price of a token in a call with so many input tokens."""
        if not self.tiers:
            return self.base
        return next((price for start, price in reversed(self.tiers) if input_tokens > start), self.base)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Rates by kind of token; None where the kind has no price of its own and costs what the rest does.

    ``request`` is for each answered call, ``image`` for each image in it.
    """

    source: PriceSource
    currency: str = "USD"
    input: Rate = Rate(_NOTHING)
    output: Rate = Rate(_NOTHING)
    cached_input: Rate | None = None
    cache_write: Rate | None = None
    cache_write_1h: Rate | None = None
    audio_input: Rate | None = None
    audio_output: Rate | None = None
    reasoning: Rate | None = None
    request: Decimal = _NOTHING
    image: Decimal = _NOTHING
    billionths: tuple[int, int, int] | None = field(init=False, repr=False, compare=False)
    """Of a request, a token read and a token written, where each is whole and the same whatever the call's length."""

    def __post_init__(self) -> None:
        """Once: a price is reckoned with for every call."""
        scaled = [amount.scaleb(NANO) for amount in (self.request, self.input.base, self.output.base)]
        plain = not self.input.tiers and not self.output.tiers and all(amount == int(amount) for amount in scaled)
        request, read, written = map(int, scaled)
        object.__setattr__(self, "billionths", (request, read, written) if plain else None)


FREE: Final = Price(source=PriceSource.FREE)
