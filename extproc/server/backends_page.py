"""``/backends``: each backend with its state, since when, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from extproc.exchange.snapshot import Snapshot
from extproc.routing.health import UNKNOWN, BackendState


def describe_backends(snapshot: Snapshot, states: Mapping[str, BackendState]) -> dict[str, Any]:
    """JSON-ready. ``since`` is Unix seconds; what nobody has measured yet is null."""
    return {
        "backends": {
            name: {
                "provider": settings.provider,
                "model": settings.model,
                **_described(states.get(name, UNKNOWN)),
                "maxConcurrency": settings.max_concurrency,
                "healthCheck": settings.checked_path,
            }
            for name, settings in snapshot.config.backends.items()
        }
    }


def _described(state: BackendState) -> dict[str, Any]:
    return {
        "circuit": state.circuit.value,
        "reason": state.reason,
        "since": state.since,
        "inFlight": state.in_flight,
        "firstTokenMs": None if state.first_token_ms is None else round(state.first_token_ms, 1),
        "tokensPerSecond": None if state.tokens_per_second is None else round(state.tokens_per_second, 1),
    }
