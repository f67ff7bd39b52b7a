"""Usage times price: every token once, at the rate of its kind, in exact decimals."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final

from extproc.config.prices import format_amount
from extproc.metering.rates import Price, Rate
from extproc.openai.usage import Usage

# More digits than any product of a count and a price has, so that nothing is ever rounded.
_EXACT: Final = Context(prec=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """An amount of money. Its text is the same wherever it stands: all digits, then the currency."""

    amount: Decimal
    currency: str

    @property
    def digits(self) -> str:
        """The amount alone, without exponent."""
        return format_amount(self.amount)

    def __str__(self) -> str:
        return f"{self.digits} {self.currency}"


def cost(usage: Usage, price: Price, *, images: int = 0, answered: bool = True) -> Cost:
    """What an attempt cost. ``answered``: the price of a request is for those that were.

    ``images`` are the request's, and read as its tokens are, whatever became of the answer.
    """
    rates = [*_input_parts(usage, price), *_output_parts(usage, price)]
    amount = _EXACT.add(price.request if answered else Decimal(0), _EXACT.multiply(Decimal(images), price.image))
    for count, rate in rates:
        amount = _EXACT.add(amount, _EXACT.multiply(Decimal(count), rate.at(usage.input)))
    return Cost(amount=amount, currency=price.currency)


def text_cost(tokens: int, answer: int, price: Price, *, images: int = 0) -> Decimal:
    """The same amount for an answer of text alone, and a prompt of which nothing is cached."""
    seen = _EXACT.multiply(Decimal(images), price.image)
    read = _EXACT.multiply(Decimal(tokens), price.input.at(tokens))
    written = _EXACT.multiply(Decimal(answer), price.output.at(tokens))
    return _EXACT.add(_EXACT.add(price.request, seen), _EXACT.add(read, written))


def _input_parts(usage: Usage, price: Price) -> list[tuple[int, Rate]]:
    """Cached, written and heard tokens are part of the input, so each is taken out of the rest.

    A provider that counts cached audio as both cached and audio has it at the price of the cache.
    """
    left = usage.input
    parts = []
    long_lived = min(usage.cache_write_1h or 0, usage.cache_write or 0)
    for count, rate in (
        (usage.cached_input, price.cached_input),
        (long_lived, price.cache_write_1h or price.cache_write),
        ((usage.cache_write or 0) - long_lived, price.cache_write),
        (usage.audio_input, price.audio_input),
    ):
        if count and rate is not None:
            taken = min(count, left)
            left -= taken
            parts.append((taken, rate))
    return [*parts, (left, price.input)]


def _output_parts(usage: Usage, price: Price) -> list[tuple[int, Rate]]:
    left = usage.output
    parts = []
    for count, rate in ((usage.audio_output, price.audio_output), (usage.reasoning, price.reasoning)):
        if count and rate is not None:
            taken = min(count, left)
            left -= taken
            parts.append((taken, rate))
    return [*parts, (left, price.output)]
