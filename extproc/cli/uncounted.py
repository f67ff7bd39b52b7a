"""Backends whose calls cost money that no budget counts, because all are in other currencies, for ``kortex check``."""

from __future__ import annotations

from typing import Final

from extproc.cli.without_secrets import compile_without_secrets
from extproc.config.gateway import Config
from extproc.config.load import Problem
from extproc.exchange.pricing import known_models
from extproc.metering.rates import Price, PriceSource
from extproc.routing.target import Target

_LISTED: Final = Price(source=PriceSource.LIST).currency


def uncounted_currencies(config: Config, *, now: float) -> tuple[Problem, ...]:
    """One for each backend; none where no budget is in money. ``now`` is Unix seconds."""
    budgets = [*config.budgets, *(budget for key in config.keys or () for budget in key.budgets)]
    counted = {budget.currency for budget in budgets if budget.amount is not None}
    if not counted:
        return ()
    costs = {
        (target.backend, currency)
        for target, model in known_models(compile_without_secrets(config))
        if (currency := _currency(target, model, now)) is not None
    }
    return tuple(_problem(backend, currency, counted) for backend, currency in sorted(costs) if currency not in counted)


def _currency(target: Target, model: str | None, now: float) -> str | None:
    """None where a call costs nothing, or nobody knows what."""
    price = target.price(model or "", at=now)
    if price is None:
        return _LISTED if model is None and target.provider.price_list is not None else None
    return None if price.source is PriceSource.FREE else price.currency


def _problem(backend: str, currency: str, counted: set[str]) -> Problem:
    message = (
        f"its calls cost {currency}, and budgets count {', '.join(sorted(counted))} alone: no budget holds them back"
    )
    return Problem(
        path=f"backends.{backend}", message=message, hint=f"add a budget in {currency}, or give the backend its cost"
    )
