"""A backend as a route reaches it: its provider, its settings, and the name that Envoy knows it by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from extproc.config.backends import Backend
from extproc.config.prices import Unpriced
from extproc.dialects.base import Translator
from extproc.metering.catalogue import ModelFacts, facts_for
from extproc.metering.price import PriceBook
from extproc.metering.rates import FREE, Price
from extproc.openai.call import Operation
from extproc.providers.base import Provider

Credential = Callable[[], str | None]
"""Gives the backend's secret as it is now; asked at every attempt. Raises CredentialUnavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A backend as one route reaches it: what Envoy has a provider listener and clusters for.

    ``name`` is the name of those resources. It holds a digest of all that shapes them, so that a changed backend is
    another target: a request under way finishes on what it began with, and no request is ever written for one
    address and sent to another.
    """

    name: str
    backend: str
    provider: Provider[Any]
    settings: Backend
    credential: Credential
    connect_ms: int
    backoff_ms: int
    unpriced: Unpriced = "allow"
    """What becomes of calls for a model without a price."""
    _prices: PriceBook = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """By the settings, which do not change."""
        prices = PriceBook(self.settings, price_list=self.provider.price_list, unpriced=self.unpriced)
        object.__setattr__(self, "_prices", prices)

    def model(self, asked: str) -> str:
        """The provider's name for the model that is asked for, without the route's prefix."""
        return self.settings.model or asked

    def translator(self, operation: Operation, asked: str) -> Translator | None:
        """What writes the operation for that model; None where it cannot be had."""
        return self.provider.translator(operation, self.settings, self.model(asked))

    def price(self, model: str, *, at: float, service_tier: str | None = None) -> Price | None:
        """What its answers by a model cost at a moment (Unix seconds); None when nobody knows."""
        if self.settings.cost is None and self.provider.answer is not None:
            return FREE
        return self._prices.price(model, at=at, service_tier=service_tier)

    @property
    def counts_images(self) -> bool:
        """Whether what a call costs here may depend on its images."""
        return self._prices.counts_images

    def facts(self, model: str) -> ModelFacts:
        """What is known of a model here, by the provider's name for it."""
        return facts_for(self.settings, price_list=self.provider.price_list, model=model)

    @property
    def authority(self) -> str:
        """host[:port], as HTTP's Host header has it."""
        return urlsplit(self.settings.url).netloc
