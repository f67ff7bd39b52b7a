"""One config, compiled once: an immutable, numbered value that knows the route of every model, and every target."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final

import orjson

from extproc.admission.keyring import OPEN, KeyRing
from extproc.admission.policy import compile_policies, compile_route_limit
from extproc.admission.tariff import Tariffs
from extproc.config.backends import Backend
from extproc.config.gateway import DEFAULT_CIRCUIT_BREAKER, DEFAULT_RETRIES, DEFAULT_TIMEOUTS, Config
from extproc.config.glob import glob, is_glob, specificity
from extproc.config.routes import Route
from extproc.config.scalars import Model
from extproc.exchange.listing import ListedModel, list_models
from extproc.providers.base import Provider
from extproc.routing.breaker import BreakerSettings
from extproc.routing.experiment import CompiledExperiment
from extproc.routing.route import Choice, CompiledRoute, Split
from extproc.routing.rule import compile_rule
from extproc.routing.target import Credential, Target

_REMEMBERED: Final = 4_096
"""Names of models, which arrival keeps short."""
# What Envoy knows nothing of: a new price, or a new limit of a circuit, drains no listener.
_SHAPELESS: Final = {"capabilities", "circuit_breaker", "cost", "max_output", "unpriced"}


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
    models: tuple[ListedModel, ...]
    """For ``/v1/models``."""
    exact: Mapping[str, CompiledRoute]
    globs: tuple[tuple[re.Pattern[str], CompiledRoute], ...]
    """Most specific first."""
    globbed: Callable[[str], CompiledRoute | None]
    """The first of them that a name fits. Remembers the names asked for lately: there may be a thousand globs."""
    breakers: Mapping[str, BreakerSettings]
    """By backend: when its circuit opens and closes."""
    keys: KeyRing = OPEN
    """Who may ask."""
    tariffs: Tariffs = field(default_factory=lambda: Tariffs(()))
    """Limits and budgets."""
    counts: bool = False
    """Whether there are any, those of single keys included."""
    webhooks: Mapping[str, tuple[str, Credential]] = field(default_factory=dict)
    """By budget: the URL to tell of thresholds, and what signs that."""
    quota_password: Credential = _none
    """Of the server that counts."""

    def route(self, model: str) -> CompiledRoute | None:
        """The route of the name a client asked for: an exact name first, then the most specific glob."""
        return self.exact.get(model) or self.globbed(model)


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
    routes = {name: compiler.route(name, route) for name, route in config.routes.items()}
    patterns = [(pattern, routes[name]) for name, route in config.routes.items() for pattern in route.models]
    exact = {pattern: route for pattern, route in patterns if not is_glob(pattern)}
    wide = sorted((item for item in patterns if is_glob(item[0])), key=lambda item: specificity(item[0]))
    globs = tuple((glob(pattern), route) for pattern, route in wide)
    first_fit = partial(_first_fit, globs)
    limited = [(name, route.rate_limit) for name, route in config.routes.items() if route.rate_limit is not None]
    policies = (
        *compile_policies(config.limits, config.budgets),
        *(compile_route_limit(name, limit) for name, limit in limited),
    )
    return Snapshot(
        number=number,
        loaded_at=loaded_at,
        config=config,
        targets=compiler.targets,
        models=list_models(config.routes, routes, exact=exact, globbed=first_fit, at=loaded_at),
        exact=exact,
        globs=globs,
        globbed=lru_cache(_REMEMBERED)(first_fit),
        breakers={name: _breaker(config, backend) for name, backend in config.backends.items()},
        keys=callers.keys,
        tariffs=Tariffs(policies),
        counts=bool(policies) or callers.keys.counts,
        webhooks=callers.webhooks,
        quota_password=callers.quota_password,
    )


def _first_fit(globs: tuple[tuple[re.Pattern[str], CompiledRoute], ...], model: str) -> CompiledRoute | None:
    return next((route for pattern, route in globs if pattern.fullmatch(model)), None)


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


class _Compiler:
    """Makes routes whose targets are shared wherever they reach a backend in the same way."""

    def __init__(
        self, config: Config, providers: Mapping[str, Provider[Any]], credentials: Mapping[str, Credential]
    ) -> None:
        self._config = config
        self._providers = providers
        self._credentials = credentials
        self._targets: dict[tuple[str, int, int], Target] = {}

    @property
    def targets(self) -> dict[str, Target]:
        """Every target made so far, by its name."""
        return {target.name: target for target in self._targets.values()}

    def route(self, name: str, route: Route) -> CompiledRoute:
        """A route with its rules, in their order."""
        gateway = self._config.gateway
        timeouts = _merged(DEFAULT_TIMEOUTS, gateway.timeouts, route.timeouts)
        retries = _merged(DEFAULT_RETRIES, gateway.retries, route.retries)

        def target(backend: str) -> Target:
            return self._target(backend, timeouts["connect"] or 0, retries["backoff"] or 0)

        default = route.default_backend
        return CompiledRoute(
            name=name,
            default=Split(choices=(Choice(target=target(default.name), weight=default.weight),), strategy="priority"),
            fallback=tuple(map(target, dict.fromkeys(route.fallback.backends if route.fallback else ()))),
            experiments=tuple(
                CompiledExperiment(
                    settings=experiment,
                    control=target(experiment.control),
                    treatment=target(experiment.treatment),
                )
                for experiment in route.experiments
            ),
            rules=tuple(
                compile_rule(rule, place=place, name=name, route=route, target=target)
                for place, rule in enumerate(route.rules)
            ),
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
