"""Models that a config leads to and whose price nobody knows, for ``kortex check``."""

from __future__ import annotations

from datetime import UTC, datetime

from extproc.cli.without_secrets import compile_without_secrets
from extproc.config.gateway import Config
from extproc.config.load import Problem
from extproc.exchange.pricing import known_models
from extproc.metering.price_list import price_list
from extproc.routing.target import Target

_HINT = "give the backend its cost, or write unpriced: allow"


def unpriced_models(config: Config, *, now: float) -> tuple[Problem, ...]:
    """One for each, unless the operator has written that it may be so. ``now`` is Unix seconds."""
    allowed = config.gateway.unpriced == "allow" and "unpriced" in config.gateway.model_fields_set
    found = {
        (target.backend, model): target
        for target, model in known_models(compile_without_secrets(config))
        if _is_doubtful(target, model, allowed=allowed) and target.price(model or "", at=now) is None
    }
    return tuple(_problem(target, model, now) for (_, model), target in found.items())


def _is_doubtful(target: Target, model: str | None, *, allowed: bool) -> bool:
    if model is None and target.provider.price_list is not None:
        return False  # clients choose the name, and the list has prices of this provider
    return target.unpriced == "reject" or not (allowed or target.settings.unpriced == "allow")


def _problem(target: Target, model: str | None, now: float) -> Problem:
    what = "its models" if model is None else f'the model "{model}"'
    effect = "calls are refused" if target.unpriced == "reject" else "what it costs is in no sum"
    message = f"no price is known for {what} in {price_list(datetime.fromtimestamp(now, UTC).date())}: {effect}"
    return Problem(path=f"backends.{target.backend}", message=message, hint=_HINT)
