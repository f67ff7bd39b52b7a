"""``routes:`` which models clients may ask for, where those go, and how long and how often to try."""

from __future__ import annotations

from pydantic import Field

from extproc.config.limits import RouteRateLimit
from extproc.config.scalars import Duration, Model


class BackendRef(Model):
    """A backend, by name."""

    name: str
    """Its key under ``backends``."""


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
    """Where a call goes first."""
    fallback: Fallback | None = None
    """Where it goes when that fails."""
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
