"""``routes:`` which models clients may ask for, where those go, and how long and how often to try."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import ConfigDict, Field, model_validator

from extproc.config.experiments import Experiment
from extproc.config.limits import RouteRateLimit
from extproc.config.matches import Match
from extproc.config.scalars import Duration, Model, Name
from extproc.config.units import Unit

_LARGEST_WEIGHT: Final = 1_000_000

Strategy = Literal["weighted", "priority", "cheapest", "fastest", "leastBusy", "smallestFit"]
"""How the backends of a rule are put in order."""


class BackendRef(Model):
    """A backend, by name."""

    name: str
    """Its key under ``backends``."""
    weight: int = Field(default=1, ge=0, le=_LARGEST_WEIGHT)
    """Its share beside the others. 0 drains it: no new call goes there, not even when the others fail."""


class Affinity(Model):
    """Keeps calls that belong together on one backend, so that its prompt cache stays warm."""

    by: Unit
    """What belongs together. A call without it is spread by weight."""


class Refusal(Model):
    """The answer to a call that is not to be served."""

    status: int = Field(default=403, ge=400, le=599)
    """HTTP status."""
    message: str = Field(min_length=1)
    """What the client is told."""
    code: Name = "refused_by_rule"
    """The error's ``code``."""


class Rule(Model):
    """Calls that go elsewhere than to the route's default backend."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["backends"]}, {"required": ["experiment"]}, {"required": ["refuse"]}]
        }
    )

    name: Name | None = None
    """What the rule is called in logs, metrics and explanations. Default: its place, such as ``rules[0]``."""
    match: Match = Match()
    """What must be true of a call. Default: every call matches."""
    backends: tuple[BackendRef, ...] | None = Field(default=None, min_length=1)
    """Where such calls go, each as ``defaultBackend``; when the first fails, the others follow, then ``fallback``."""
    experiment: str | None = None
    """In place of ``backends``: such calls are all part of this experiment of the route's."""
    strategy: Strategy | None = None
    """In which order. Default: the route's."""
    affinity: Affinity | None = None
    """What stays on one backend. Default: the route's."""
    refuse: Refusal | None = None
    """In place of ``backends``: such calls are answered with an error."""

    @model_validator(mode="after")
    def _one_result(self) -> Rule:
        if sum(result is not None for result in (self.backends, self.experiment, self.refuse)) != 1:
            msg = "give exactly one of backends, experiment and refuse"
            raise ValueError(msg)
        return self


class Fallback(Model):
    """The chain to walk, in order, when the backend before could not answer."""

    backends: tuple[str, ...] = Field(min_length=1)
    """Names of backends; each is tried once, one already in the plan is not repeated."""


class Retries(Model):
    """The same provider again, before the next backend. A key left out keeps the gateway's value."""

    per_backend: int | None = Field(default=None, ge=0, le=10)
    """How many more times one backend is asked after a refused connection, a reset or 429/500/502/503/504/529."""
    backoff: Duration | None = Field(default=None, ge=1)
    """Base of the exponential wait, with jitter, between those tries; a Retry-After of at most 5 s goes before it."""


class Timeouts(Model):
    """How long to wait for what. A key left out keeps the gateway's value."""

    connect: Duration | None = Field(default=None, ge=1)
    """To open a connection to the provider, TLS included."""
    first_token: Duration | None = Field(default=None, ge=1)
    """From sending a streamed call until the first event of its answer; then the next backend is tried."""
    unstreamed: Duration | None = Field(default=None, ge=1)
    """From sending an unstreamed call until its whole answer; then the next backend is tried."""
    idle: Duration | None = Field(default=None, ge=1)
    """Between two events of a stream that has begun; then the stream ends with an error event."""
    total: Duration | None = Field(default=None, ge=1)
    """For the whole request, all attempts together. Default: no limit."""


class Route(Model):
    """Models that clients may ask for, and the backends that answer."""

    models: tuple[str, ...] = Field(min_length=1)
    """Names or globs (``*``, ``?``). An exact name wins over a glob, a longer glob over a shorter one."""
    default_backend: BackendRef
    """Where a call goes that no rule matches."""
    fallback: Fallback | None = None
    """Where a call goes when that fails, or the backends of the rule that matched."""
    rules: tuple[Rule, ...] = ()
    """Where particular calls go. The first rule that matches decides, and no other is looked at."""
    experiments: tuple[Experiment, ...] = ()
    """Comparisons of two backends: whenever a call would go to one of the two, its unit's variant decides to which."""
    strategy: Strategy = "weighted"
    """How rules put their backends in order, where they do not say it themselves. See *Routing* above."""
    affinity: Affinity | None = None
    """What stays on one backend, in rules that split by weight and do not say it themselves."""
    strip_prefix: str | None = Field(default=None, min_length=1)
    """Start of the model's name that providers do not see: ``openai/`` makes ``openai/gpt-4o`` arrive as ``gpt-4o``."""
    strict: bool = False
    """Refuse a request of which a provider lacks a parameter, instead of dropping that and saying so in a header."""
    rate_limit: RouteRateLimit | None = None
    """How many requests it takes. ``limits`` can say more."""
    retries: Retries = Retries()
    """As ``gateway.retries``, for this route; a key left out keeps the gateway's value."""
    timeouts: Timeouts = Timeouts()
    """As ``gateway.timeouts``, for this route; a key left out keeps the gateway's value."""
