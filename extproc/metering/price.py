"""Which price a call has: the backend's own, the list's, or the one that the operator gives to what has none."""

from __future__ import annotations

from typing import Final

from extproc.config.backends import Backend
from extproc.config.prices import Cost as CostSettings
from extproc.config.prices import Unpriced
from extproc.metering.price_list import listed_price
from extproc.metering.rates import Price, PriceSource, Rate

_THOUSAND: Final = 3


def price_for(
    settings: Backend,
    *,
    price_list: str | None,
    model: str,
    at: float,
    service_tier: str | None = None,
    unpriced: Unpriced = "allow",
) -> Price | None:
    """The price of a backend's answers by a model, at a moment (Unix seconds); None when nobody knows it.

    ``price_list`` is the name that the list of prices has for the provider.
    """
    if settings.cost is not None:
        return _configured(settings.cost, PriceSource.CONFIG)
    found = listed_price(settings.url, price_list, model, at=at, service_tier=service_tier)
    if found is None and isinstance(unpriced, CostSettings):
        return _configured(unpriced, PriceSource.DEFAULT)
    return found


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
    )
