"""A configuration compiled for looking at it, not for serving: no secret is read."""

from __future__ import annotations

from extproc.config.gateway import Config
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.providers.registry import PROVIDERS


def compile_without_secrets(config: Config) -> Snapshot:
    """What Envoy's configuration is rendered from."""
    return compile_snapshot(
        config,
        number=1,
        loaded_at=0.0,
        providers=PROVIDERS,
        credentials=dict.fromkeys(config.backends, _none),
    )


def _none() -> None:
    return None
