"""The config's time limits, scaled down: what a client waits for a minute shall be seen in two seconds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.config.gateway import DEFAULT_RETRIES, DEFAULT_TIMEOUTS, Config
from extproc.config.routes import Route
from extproc.config.scalars import Model, format_duration

_LIMIT_MS: Final = 2_000
"""What the limit for an answer's beginning becomes, where it is longer: enough for a machine that is busy."""
_SHORTEST_TOTAL_MS: Final = 2_000
_BACKOFF_MS: Final = 50
_SHORTEST_IDLE_MS: Final = 500
_CONNECT_MS: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """One route's limits for one kind of call, in milliseconds. ``scale`` is config's time to the run's."""

    limit_ms: int
    """As configured: ``firstToken`` for a stream, else ``unstreamed``."""
    total_ms: int | None
    """As configured."""
    retries: int
    """More tries of one backend."""
    scale: float
    run_limit_ms: int
    late: float
    """Seconds after which a slow answer begins, well within all limits."""
    written: Mapping[str, str]
    """The route's ``timeouts`` for the run."""


def patience_of(config: Config, route: Route, *, stream: bool) -> Patience:
    """All limits shrink by one factor, so that what comes first still comes first.

    ``total`` shrinks with the limit of the kind of call that is made, which is why streams and whole replies are tested
    one after the other. The pause between two events is a limit of its own and only made short.
    """
    merged = _merged(DEFAULT_TIMEOUTS, config.gateway.timeouts, route.timeouts)
    limit = int(merged["first_token" if stream else "unstreamed"] or 0)
    total = merged["total"]
    scale = max(1.0, limit / _LIMIT_MS)
    if total is not None:
        scale = max(1.0, min(scale, total / _SHORTEST_TOTAL_MS))
    run_limit = _shrunk(limit, scale)
    idle = _shrunk(int(merged["idle"] or 0), scale)
    milliseconds = {
        "connect": min(int(merged["connect"] or 0), _CONNECT_MS),
        "firstToken": run_limit,
        "unstreamed": run_limit,
        "idle": min(max(idle, _SHORTEST_IDLE_MS), _LIMIT_MS, int(merged["idle"] or 0)),
        **({} if total is None else {"total": _shrunk(total, scale)}),
    }
    return Patience(
        limit_ms=limit,
        total_ms=total,
        retries=int(_merged(DEFAULT_RETRIES, config.gateway.retries, route.retries)["per_backend"] or 0),
        scale=scale,
        run_limit_ms=run_limit,
        late=min(run_limit, milliseconds.get("total", run_limit)) / 2_000,
        written={name: format_duration(value) for name, value in milliseconds.items()},
    )


def backoff_of(config: Config, route: Route) -> str:
    """The pause between two tries, made short."""
    backoff = _merged(DEFAULT_RETRIES, config.gateway.retries, route.retries)["backoff"]
    return format_duration(min(int(backoff or 1), _BACKOFF_MS))


def _shrunk(milliseconds: int, scale: float) -> int:
    return max(1, round(milliseconds / scale))


def _merged(*layers: Model) -> dict[str, Any]:
    """Later layers win where they say something."""
    merged: dict[str, Any] = dict(layers[0])
    for layer in layers[1:]:
        merged.update({name: value for name, value in layer if value is not None})
    return merged
