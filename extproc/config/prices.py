"""``cost:`` and ``unpriced:`` what a backend's answers cost, and what to do where nobody knows."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, field_validator

from extproc.config.scalars import Model

_AMOUNT: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


def parse_amount(value: object) -> object:
    """``"0.0025"`` → Decimal. A number without quotes is refused: YAML would make a binary fraction of it.

    Raises ValueError.
    """
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        msg = f'money is exact: put the amount in quotes, such as "{value}"'
        raise ValueError(msg)  # noqa: TRY004 - pydantic reports ValueError as a validation error
    if not isinstance(value, str) or _AMOUNT.fullmatch(value.strip()) is None:
        msg = f'{value!r} is not an amount: write a decimal number in quotes, such as "0.0025"'
        raise ValueError(msg)
    return Decimal(value.strip())


def format_amount(amount: Decimal) -> str:
    """All digits, no exponent, no zeros behind the last one that counts."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


Amount = Annotated[
    Decimal,
    BeforeValidator(parse_amount),
    PlainSerializer(format_amount, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,12})?$", "examples": ["0.0025"]}),
]
"""Money, exact; written in quotes."""


class ServiceTiers(Model):
    """What tokens cost in a provider's tier of service, as a multiple of what they cost otherwise: ``"0.5"`` is half.

    The tier is the one that the reply names.
    """

    batch: Amount | None = None
    """Answers of a batch: Anthropic's ``usage.service_tier``, and servers that say so in OpenAI's ``service_tier``."""
    flex: Amount | None = None
    """Slower and cheaper."""
    priority: Amount | None = None
    """Faster and dearer."""


class Cost(Model):
    """What a backend's tokens cost, for 1000 of them. It takes the place of the built-in price list."""

    input_token_cost: Amount
    """Of the prompt."""
    output_token_cost: Amount
    """Of the answer, reasoning included."""
    cached_input_token_cost: Amount | None = None
    """Of the part of the prompt that the provider read from its cache. Default: as the rest of the prompt."""
    cache_write_token_cost: Amount | None = None
    """Of the part of the prompt that the provider wrote to its cache. Default: as the rest of the prompt."""
    request_cost: Amount = Decimal(0)
    """Of each answered request, whatever it used."""
    image_cost: Amount = Decimal(0)
    """Of each image in a request, besides the tokens that the provider counts for it."""
    service_tiers: ServiceTiers = ServiceTiers()
    """Multiples of the tokens' prices, by the tier that served. Default: every tier costs the same."""
    currency: str = "USD"
    """ISO 4217."""

    @field_validator("currency")
    @classmethod
    def _three_letters(cls, currency: str) -> str:
        if not _CURRENCY.fullmatch(currency):
            msg = f"{currency!r} is not a currency: write its three capital letters, such as USD or EUR"
            raise ValueError(msg)
        return currency


Unpriced = Annotated[
    Literal["allow", "reject"] | Cost,
    Field(union_mode="left_to_right"),
]
"""What becomes of a call whose model has no price: ``allow``, ``reject``, or a price for all of them."""
