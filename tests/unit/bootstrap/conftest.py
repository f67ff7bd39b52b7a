"""Snapshots to render, from kortex.yaml as text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from extproc.config.load import load
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.providers.registry import PROVIDERS, SETTINGS


def compiled_from(text: str) -> Snapshot:
    """Without secrets, which no file of Envoy's holds."""
    config = load(text.encode(), SETTINGS).config
    credentials = dict.fromkeys(config.backends, lambda: None)
    return compile_snapshot(config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials=credentials)


@pytest.fixture
def compiled() -> Callable[[str], Snapshot]:
    """kortex.yaml → Snapshot."""
    return compiled_from
