"""One config, compiled once: an immutable, numbered value that knows the plan of every model, and every target."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from extproc.admission.keyring import OPEN, KeyRing
from extproc.admission.policy import Policy, compile_policies, compile_route_limit
from extproc.config.backends import Backend
from extproc.config.gateway import DEFAULT_CIRCUIT_BREAKER, DEFAULT_RETRIES, DEFAULT_TIMEOUTS, Config
from extproc.config.glob import WILDCARDS, is_glob, regular_expression
from extproc.config.prices import Unpriced
from extproc.config.routes import Route
from extproc.config.scalars import Model
from extproc.dialects.base import Translator
from extproc.metering.catalogue import ModelFacts, facts_for
from extproc.metering.price import price_for
from extproc.metering.rates import FREE, Price
from extproc.openai.call import Operation
from extproc.providers.base import Provider
from extproc.routing.breaker import BreakerSettings

Credential = Callable[[], str | None]
"""Gives the backend's secret as it is now; asked at every attempt. Raises CredentialUnavailable."""

# What Envoy knows nothing of: a new price drains no listener.
_SHAPELESS: Final = {"cost", "unpriced", "capabilities", "max_output"}


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

    def model(self, asked: str) -> str:
        """The provider's name for the model that is asked for."""
        return self.settings.model or asked

    def translator(self, operation: Operation, asked: str) -> Translator | None:
        """What writes the operation for that model; None where it cannot be had."""
        return self.provider.translator(operation, self.settings, self.model(asked))


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

    def offering(self, operation: Operation, asked: str) -> tuple[Target, ...]:
        """The targets that have the operation for the model that a client asked for."""
        model = self.upstream_name(asked)
        return tuple(target for target in self.targets if target.translator(operation, model) is not None)


def _none() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """What was read for admission: clients' keys, who is told of budgets, and the password of whoever counts."""

    keys: KeyRing = OPEN
    webhooks: Mapping[str, tuple[str, Credential]] = field(default_factory=dict)
    quota_password: Credential = _none


NOBODY_IN_PARTICULAR: Final = Callers()


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
    breakers: Mapping[str, BreakerSettings]
    """By backend: when its circuit opens and closes."""
    keys: KeyRing = OPEN
    """Who may ask."""
    policies: tuple[Policy, ...] = ()
    """Limits and budgets, but for those of single keys."""
    counts: bool = False
    """Whether there are any, those of single keys included."""
    webhooks: Mapping[str, tuple[str, Credential]] = field(default_factory=dict)
    """By budget: the URL to tell of thresholds, and what signs that."""
    quota_password: Credential = _none
    """Of the server that counts."""

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
    callers: Callers = NOBODY_IN_PARTICULAR,
) -> Snapshot:
    """Config (already checked by ``extproc.config.load``) → Snapshot. ``credentials`` has one entry per backend."""
    compiler = _Compiler(config, providers, credentials)
    plans = {name: compiler.plan(name, route) for name, route in config.routes.items()}
    patterns = [(pattern, plans[name]) for name, route in config.routes.items() for pattern in route.models]
    exact = {pattern: plan for pattern, plan in patterns if not is_glob(pattern)}
    globs = sorted((item for item in patterns if is_glob(item[0])), key=lambda item: _specificity(item[0]))
    limited = [(name, route.rate_limit) for name, route in config.routes.items() if route.rate_limit is not None]
    policies = (
        *compile_policies(config.limits, config.budgets),
        *(compile_route_limit(name, limit) for name, limit in limited),
    )
    return Snapshot(
        number=number,
        loaded_at=loaded_at,
        config=config,
        targets={target.name: target for plan in plans.values() for target in plan.targets},
        models=tuple((name, plan.targets[0].provider.name) for name, plan in exact.items()),
        exact=exact,
        globs=tuple((regular_expression(pattern), plan) for pattern, plan in globs),
        breakers={name: _breaker(config, backend) for name, backend in config.backends.items()},
        keys=callers.keys,
        policies=policies,
        counts=bool(policies) or callers.keys.counts,
        webhooks=callers.webhooks,
        quota_password=callers.quota_password,
    )


def _breaker(config: Config, backend: Backend) -> BreakerSettings:
    merged = _merged(DEFAULT_CIRCUIT_BREAKER, config.gateway.circuit_breaker, backend.circuit_breaker)
    number = {name: value or 0 for name, value in merged.items()}
    return BreakerSettings(
        enabled=bool(merged["enabled"]),
        consecutive_failures=number["consecutive_failures"],
        failure_rate=number["failure_rate"] / 100,
        window=number["window"] / 1_000,
        minimum_requests=number["minimum_requests"],
        open_for=number["open_for"] / 1_000,
        open_for_at_most=max(number["open_for_at_most"], number["open_for"]) / 1_000,
        half_open_requests=number["half_open_requests"],
        successes_to_close=number["successes_to_close"],
    )


def _specificity(pattern: str) -> tuple[int, int]:
    """Sorts the glob with more literal characters, then with the longer literal start, first."""
    literal = sum(character not in WILDCARDS for character in pattern)
    start = next((index for index, character in enumerate(pattern) if character in WILDCARDS), len(pattern))
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
