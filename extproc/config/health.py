"""``circuitBreaker:`` and ``healthCheck:`` when a backend counts as down, and how it is found to be up again."""

from __future__ import annotations

from pydantic import Field, field_validator

from extproc.config.scalars import Duration, Model


class CircuitBreaker(Model):
    """When a backend goes to the end of every plan, and when it is back. A key left out keeps the gateway's value."""

    enabled: bool | None = None
    """``false``: failures change no plan."""
    consecutive_failures: int | None = Field(default=None, ge=1)
    """Opens after this many failures in a row."""
    failure_rate: int | None = Field(default=None, ge=1, le=100)
    """Opens when at least this many per cent of the attempts within ``window`` failed."""
    window: Duration | None = Field(default=None, ge=1_000)
    """Over which time the rate of failures is taken."""
    minimum_requests: int | None = Field(default=None, ge=1)
    """Attempts within ``window`` below which the rate says nothing."""
    open_for: Duration | None = Field(default=None, ge=100)
    """How long it stays open the first time; twice as long each time its probes fail. A Retry-After goes before it."""
    open_for_at_most: Duration | None = Field(default=None, ge=100)
    """Where the doubling ends."""
    half_open_requests: int | None = Field(default=None, ge=1)
    """How many requests may probe it at once when that time is over, all workers together."""
    successes_to_close: int | None = Field(default=None, ge=1)
    """Probes that must succeed, one after another, before it serves as before."""


class HealthCheck(Model):
    """Envoy asks the server for a path again and again; anything but a 200 in time is a failure."""

    enabled: bool = True
    """``false`` switches off the check that the provider has by default."""
    path: str | None = None
    """What is asked for. Default: the provider's own health endpoint, where it has one."""
    interval: Duration = Field(default=10_000, ge=100)
    """Between two checks."""
    timeout: Duration = Field(default=2_000, ge=10)
    """For one check."""
    failure_threshold: int = Field(default=3, ge=1)
    """Failures in a row after which the backend goes to the end of every plan; one success brings it back."""

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        if path is not None and (not path.startswith("/") or not path.isprintable() or " " in path):
            msg = "a path begins with / and has no white space"
            raise ValueError(msg)
        return path
