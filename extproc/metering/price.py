"""Which price a call has: the backend's own, the list's, or the one that the operator gives to what has none."""

from __future__ import annotations

from typing import Final

from extproc.config.backends import Backend
from extproc.config.prices import Cost as CostSettings
from extproc.config.prices import Unpriced
from extproc.metering.price_list import listed_price
from extproc.metering.rates import Price, PriceSource, Rate

_THOUSAND: Final = 3


class PriceBook:
    """The prices of a backend's answers. ``price_list`` is the name that the list of prices has for the provider.

    What the config says is worked out once: a price is asked for twice in every request.
    """

    __slots__ = ("_default", "_own", "_price_list", "_url")

    def __init__(self, settings: Backend, *, price_list: str | None, unpriced: Unpriced = "allow") -> None:
        self._url = settings.url
        self._price_list = price_list
        self._own = None if settings.cost is None else _configured(settings.cost, PriceSource.CONFIG)
        self._default = _configured(unpriced, PriceSource.DEFAULT) if isinstance(unpriced, CostSettings) else None

    def price(self, model: str, *, at: float, service_tier: str | None = None) -> Price | None:
        """The price of answers by a model, at a moment (Unix seconds); None when nobody knows it."""
        if self._own is not None:
            return self._own
        found = listed_price(self._url, self._price_list, model, at=at, service_tier=service_tier)
        return self._default if found is None else found


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
