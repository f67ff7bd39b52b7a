"""The list of prices that others keep and date: genai-prices, https://github.com/pydantic/genai-prices.

It is data and code of half a second's import, so it is imported when the first price is asked for, which is while a
config is compiled, and each price that comes of it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from extproc.metering.rates import Price, PriceSource, Rate

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, TieredPrices

_PERIOD: Final = 900
"""Seconds. Prices change at a date, or at a time of day told in quarters of an hour."""
_NOWHERE: Final = ".invalid"
"""Of an address that nobody has: https://www.rfc-editor.org/rfc/rfc2606#section-2"""
_MILLION: Final = 6
_THOUSAND: Final = 3
_KINDS: Final = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "audio_input": "input_audio_mtok",
    "audio_output": "output_audio_mtok",
    "reasoning": "output_reasoning_mtok",
}
_UNMETERED: Final = ("audio_hours", "input_audio_hours", "input_mchars", "input_document_kpages")
"""What no usage of a chat, a completion or an embedding tells: a model sold by it has no price here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Which list this is. ``latest``: the date of the newest change in it that is not to come."""

    name: str
    version: str
    models: int
    latest: date

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.models} models, latest change {self.latest.isoformat()})"


def listed_price(
    url: str, provider: str | None, model: str, *, at: float, service_tier: str | None = None
) -> Price | None:
    """What a model costs, by the provider's name for it. ``at`` is Unix seconds; None: the list does not know.

    The list knows providers by their addresses; for one elsewhere, such as a proxy, ``provider`` is the list's name of
    the one whose models it has. ``service_tier`` is OpenAI's, as the reply tells it, or ``batch``.
    """
    name = _by_address(url) or provider
    return None if name is None else _listed_price(name, model, int(at) // _PERIOD * _PERIOD, service_tier)


def listed_window(url: str, provider: str | None, model: str) -> int | None:
    """Tokens that a model can hold; None when the list does not say."""
    name = _by_address(url) or provider
    found = None if name is None else _find(name, model)
    return None if found is None else found.context_window


def sold_models(url: str, *, at: float) -> tuple[str, ...]:
    """Names of models that the provider at an address sells by the token. None for an address that is nobody's.

    The list is made to find prices by, so that some of its names stand for the beginnings of others.
    """
    name = _by_address(url)
    return () if name is None else _sold_models(name, int(at) // _PERIOD * _PERIOD)


@cache
def price_list(today: date) -> PriceList:
    """The list in use."""
    from genai_prices import __version__, data_snapshot

    models = [model for provider in data_snapshot.get_snapshot().providers for model in provider.models]
    changes = [change for model in models for change in _changes(model) if change <= today]
    return PriceList(name="genai-prices", version=__version__, models=len(models), latest=max(changes))


def _changes(model: ModelInfo) -> Iterator[date]:
    from genai_prices.types import StartDateConstraint

    conditional = model.prices if isinstance(model.prices, list) else []
    for entry in (*conditional, *(model.price_variants or ())):
        if isinstance(entry.constraint, StartDateConstraint):
            yield entry.constraint.start_date


@lru_cache(maxsize=4_096)
def _listed_price(provider: str, model: str, at: int, service_tier: str | None) -> Price | None:
    found = _find(provider, model)
    if found is None:
        return None
    # The list has batches apart from the tiers, whichever of the two a provider calls them.
    context = None if service_tier is None else {"service_tier": service_tier, "processing": service_tier}
    prices = found.get_prices(datetime.fromtimestamp(at, UTC), context)
    if prices.input_mtok is None and prices.output_mtok is None:
        return None
    if any(getattr(prices, kind) is not None for kind in _UNMETERED):
        return None
    rates: dict[str, Any] = {kind: _rate(getattr(prices, key)) for kind, key in _KINDS.items()}
    request = _rate(prices.requests_kcount, scale=_THOUSAND)
    return Price(
        source=PriceSource.LIST,
        request=Decimal(0) if request is None else request.base,
        **{kind: rate for kind, rate in rates.items() if rate is not None},
    )


@lru_cache(maxsize=64)
def _sold_models(provider: str, at: int) -> tuple[str, ...]:
    from genai_prices import data_snapshot

    (found,) = (one for one in data_snapshot.get_snapshot().providers if one.id == provider)
    return tuple(
        model.id
        for model in found.models
        if not model.deprecated
        and model.id[-1:].isalnum()
        and model.is_match(model.id)
        and _listed_price(provider, model.id, at, None) is not None
    )


def _rate(price: Decimal | TieredPrices | None, *, scale: int = _MILLION) -> Rate | None:
    if price is None:
        return None
    if isinstance(price, Decimal):
        return Rate(price.scaleb(-scale))
    return Rate(price.base.scaleb(-scale), tuple((tier.start, tier.price.scaleb(-scale)) for tier in price.tiers))


@lru_cache(maxsize=1_024)
def _by_address(url: str) -> str | None:
    if (urlsplit(url).hostname or "").endswith(_NOWHERE):
        return None
    from genai_prices import data_snapshot

    try:
        return data_snapshot.get_snapshot().find_provider(None, None, url).id
    except LookupError:
        return None


@lru_cache(maxsize=4_096)
def _find(provider: str, model: str) -> ModelInfo | None:
    from genai_prices import data_snapshot

    try:
        return data_snapshot.get_snapshot().find_provider_model(model, None, provider, None)[1]
    except LookupError:
        return None
