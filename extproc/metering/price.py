"""Which price a call has: the backend's own, the list's, or the one that the operator gives to what has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Context, Decimal
from typing import Final

from extproc.config.backends import Backend
from extproc.config.prices import Cost as CostSettings
from extproc.config.prices import Unpriced
from extproc.metering.price_list import listed_price
from extproc.metering.rates import Price, PriceSource, Rate

_THOUSAND: Final = 3
# More digits than the product of two amounts of a config has, so that nothing is ever rounded.
_EXACT: Final = Context(prec=100)
_BY_TIER: Final = ("batch", "flex", "priority")


class PriceBook:
    """The prices of a backend's answers. ``price_list`` is the name that the list of prices has for the provider.

    What the config says is worked out once: a price is asked for twice in every request.
    """

    __slots__ = ("_default", "_own", "_price_list", "_url", "counts_images")

    def __init__(self, settings: Backend, *, price_list: str | None, unpriced: Unpriced = "allow") -> None:
        self._url = settings.url
        self._price_list = price_list
        self._own = None if settings.cost is None else _by_tier(settings.cost, PriceSource.CONFIG)
        self._default = _by_tier(unpriced, PriceSource.DEFAULT) if isinstance(unpriced, CostSettings) else None
        told = self._own or self._default
        self.counts_images = told is not None and told[None].image > 0
        """Whether what a call costs may depend on its images; the list has prices of their tokens alone."""

    def price(self, model: str, *, at: float, service_tier: str | None = None) -> Price | None:
        """The price of answers by a model, at a moment (Unix seconds); None when nobody knows it."""
        if self._own is not None:
            return _served(self._own, service_tier)
        found = listed_price(self._url, self._price_list, model, at=at, service_tier=service_tier)
        return _served(self._default, service_tier) if found is None and self._default is not None else found


def _served(prices: Mapping[str | None, Price], service_tier: str | None) -> Price:
    return prices.get(service_tier) or prices[None]


def _by_tier(cost: CostSettings, source: PriceSource) -> Mapping[str | None, Price]:
    """None is every tier that has no price of its own."""
    plain = _configured(cost, source)
    factors = {name: getattr(cost.service_tiers, name) for name in _BY_TIER}
    return {None: plain} | {name: _times(plain, factor) for name, factor in factors.items() if factor is not None}


def _times(price: Price, factor: Decimal) -> Price:
    def scaled(rate: Rate) -> Rate:
        return Rate(_EXACT.multiply(rate.base, factor))

    return replace(
        price,
        input=scaled(price.input),
        output=scaled(price.output),
        cached_input=None if price.cached_input is None else scaled(price.cached_input),
        cache_write=None if price.cache_write is None else scaled(price.cache_write),
    )


def _configured(cost: CostSettings, source: PriceSource) -> Price:
    cached, written = cost.cached_input_token_cost, cost.cache_write_token_cost
    return Price(
        source=source,
        currency=cost.currency,
        input=Rate(cost.input_token_cost.scaleb(-_THOUSAND)),
        output=Rate(cost.output_token_cost.scaleb(-_THOUSAND)),
        cached_input=None if cached is None else Rate(cached.scaleb(-_THOUSAND)),
        cache_write=None if written is None else Rate(written.scaleb(-_THOUSAND)),
        request=cost.request_cost,
        image=cost.image_cost,
    )
