"""One config, compiled once: an immutable, numbered value that knows the plan of every model, and every target."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from extproc.config.backends import Backend
from extproc.config.gateway import DEFAULT_RETRIES, DEFAULT_TIMEOUTS, Config
from extproc.config.prices import Unpriced
from extproc.config.routes import Route
from extproc.config.scalars import Model
from extproc.metering.catalogue import ModelFacts, facts_for
from extproc.metering.price import price_for
from extproc.metering.rates import FREE, Price
from extproc.openai.call import Operation
from extproc.providers.base import Provider

Credential = Callable[[], str | None]
"""Gives the backend's secret as it is now; asked at every attempt. Raises CredentialUnavailable."""

# What Envoy knows nothing of: a new price drains no listener.
_SHAPELESS: Final = {"cost", "unpriced", "capabilities", "max_output"}
_WILDCARDS: Final = {"*": ".*", "?": "."}


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

    def price(self, model: str, *, at: float, service_tier: str | None = None) -> Price | None:
        """What its answers by a model cost at a moment (Unix seconds); None when nobody knows."""
        if self.settings.cost is None and self.provider.answer is not None:
            return FREE
        return price_for(
            self.settings,
            price_list=self.provider.price_list,
            model=model,
            at=at,
            service_tier=service_tier,
            unpriced=self.unpriced,
        )

    def facts(self, model: str) -> ModelFacts:
        """What is known of a model here, by the provider's name for it."""
        return facts_for(self.settings, price_list=self.provider.price_list, model=model)

    @property
    def authority(self) -> str:
        """host[:port], as HTTP's Host header has it."""
        return urlsplit(self.settings.url).netloc


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An ordered list of targets, and how patiently to walk it. Durations are milliseconds; None is no limit."""

    route: str
    targets: tuple[Target, ...]
    strip_prefix: str | None
    retries: int
    first_token_ms: int
    unstreamed_ms: int
    idle_ms: int
    total_ms: int | None
    strict: bool = False
    """Nothing of a request may be dropped on the way to a provider."""

    def upstream_name(self, asked: str) -> str:
        """The model's name without the part that only this gateway's clients know."""
        return asked.removeprefix(self.strip_prefix) if self.strip_prefix else asked

    def offering(self, operation: Operation) -> tuple[Target, ...]:
        """The targets that have the operation."""
        return tuple(target for target in self.targets if target.provider.translator(operation) is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What every request of one moment is decided by. ``loaded_at`` is Unix seconds."""

    number: int
    loaded_at: float
    config: Config
    targets: Mapping[str, Target]
    models: tuple[tuple[str, str], ...]
    """(name, owner) of each model that has a name of its own, for ``/v1/models``."""
    exact: Mapping[str, Plan]
    globs: tuple[tuple[re.Pattern[str], Plan], ...]
    """Most specific first."""

    def plan(self, model: str) -> Plan | None:
        """The plan for the name a client asked for: an exact name first, then the most specific glob."""
        found = self.exact.get(model)
        if found is not None:
            return found
        return next((plan for pattern, plan in self.globs if pattern.fullmatch(model)), None)


def compile_snapshot(
    config: Config,
    *,
    number: int,
    loaded_at: float,
    providers: Mapping[str, Provider[Any]],
    credentials: Mapping[str, Credential],
) -> Snapshot:
    """Config (already checked by ``extproc.config.load``) → Snapshot. ``credentials`` has one entry per backend."""
    compiler = _Compiler(config, providers, credentials)
    plans = {name: compiler.plan(name, route) for name, route in config.routes.items()}
    patterns = [(pattern, plans[name]) for name, route in config.routes.items() for pattern in route.models]
    exact = {pattern: plan for pattern, plan in patterns if not is_glob(pattern)}
    globs = sorted((item for item in patterns if is_glob(item[0])), key=lambda item: _specificity(item[0]))
    return Snapshot(
        number=number,
        loaded_at=loaded_at,
        config=config,
        targets={target.name: target for plan in plans.values() for target in plan.targets},
        models=tuple((name, plan.targets[0].provider.name) for name, plan in exact.items()),
        exact=exact,
        globs=tuple((_regular_expression(pattern), plan) for pattern, plan in globs),
    )


def is_glob(pattern: str) -> bool:
    """Whether a model's name in a route stands for more than itself."""
    return not _WILDCARDS.keys().isdisjoint(pattern)


def _regular_expression(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(_WILDCARDS.get(character) or re.escape(character) for character in pattern))


def _specificity(pattern: str) -> tuple[int, int]:
    """Sorts the glob with more literal characters, then with the longer literal start, first."""
    literal = sum(character not in _WILDCARDS for character in pattern)
    start = next((index for index, character in enumerate(pattern) if character in _WILDCARDS), len(pattern))
    return (-literal, -start)


class _Compiler:
    """Makes plans whose targets are shared wherever routes reach a backend in the same way."""

    def __init__(
        self, config: Config, providers: Mapping[str, Provider[Any]], credentials: Mapping[str, Credential]
    ) -> None:
        self._config = config
        self._providers = providers
        self._credentials = credentials
        self._targets: dict[tuple[str, int, int], Target] = {}

    def plan(self, name: str, route: Route) -> Plan:
        """A route's plan: its default backend, then the fallback chain, each backend once."""
        gateway = self._config.gateway
        timeouts = _merged(DEFAULT_TIMEOUTS, gateway.timeouts, route.timeouts)
        retries = _merged(DEFAULT_RETRIES, gateway.retries, route.retries)
        chain = [route.default_backend.name, *(route.fallback.backends if route.fallback else ())]
        targets = tuple(
            self._target(backend, timeouts["connect"] or 0, retries["backoff"] or 0) for backend in dict.fromkeys(chain)
        )
        return Plan(
            route=name,
            targets=targets,
            strip_prefix=route.strip_prefix,
            retries=retries["per_backend"] or 0,
            first_token_ms=timeouts["first_token"] or 0,
            unstreamed_ms=timeouts["unstreamed"] or 0,
            idle_ms=timeouts["idle"] or 0,
            total_ms=timeouts["total"],
            strict=route.strict,
        )

    def _target(self, backend: str, connect_ms: int, backoff_ms: int) -> Target:
        key = (backend, connect_ms, backoff_ms)
        if key not in self._targets:
            settings = self._config.backends[backend]
            self._targets[key] = Target(
                name=f"backend/{backend}/{_digest(settings, connect_ms, backoff_ms)}",
                backend=backend,
                provider=self._providers[settings.provider],
                settings=settings,
                credential=self._credentials[backend],
                connect_ms=connect_ms,
                backoff_ms=backoff_ms,
                unpriced=settings.unpriced or self._config.gateway.unpriced,
            )
        return self._targets[key]


def _digest(settings: Backend, connect_ms: int, backoff_ms: int) -> str:
    shape = settings.model_dump(mode="json", exclude=_SHAPELESS)
    text = orjson.dumps([shape, connect_ms, backoff_ms], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:8]


def _merged(*layers: Model) -> dict[str, int | None]:
    """Later layers win where they say something."""
    merged: dict[str, int | None] = {}
    for layer in layers:
        merged.update({name: value for name, value in layer if value is not None or name not in merged})
    return merged
