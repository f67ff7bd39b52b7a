"""Which targets a process knows while configs come and go."""

from __future__ import annotations

import pytest

from extproc.cli.without_secrets import compile_without_secrets
from extproc.config.load import load
from extproc.exchange.snapshot import Snapshot
from extproc.providers.registry import SETTINGS
from extproc.server.reload import RETAINED_SECONDS, Serving

CONFIG = """
backends: {a: {provider: custom, url: "http://127.0.0.1:%d/v1"}}
routes: {all: {models: ["*"], defaultBackend: {name: a}}}
"""


def snapshot(port: int) -> Snapshot:
    """One backend, whose target is another at each port."""
    return compile_without_secrets(load((CONFIG % port).encode(), SETTINGS).config)


@pytest.fixture
def first() -> Snapshot:
    """What serves from the start."""
    return snapshot(1)


def test_an_announced_snapshot_is_known_and_does_not_serve(first: Snapshot) -> None:
    """Its targets may be named by another worker already."""
    serving, second = Serving(first), snapshot(2)
    serving.announce(second)
    assert serving.snapshot is first
    assert serving.targets == {**first.targets, **second.targets}


def test_a_replaced_snapshot_is_known_for_a_while(first: Snapshot) -> None:
    """A request under way walks its old plan."""
    serving, second, third = Serving(first), snapshot(2), snapshot(3)
    serving.announce(second)
    serving.swap(second, now=0.0)
    assert serving.snapshot is second
    assert serving.targets == {**first.targets, **second.targets}
    serving.swap(third, now=RETAINED_SECONDS)
    assert serving.targets == {**second.targets, **third.targets}


def test_what_was_announced_and_never_served_is_forgotten_like_the_rest(first: Snapshot) -> None:
    """Another worker refused it; until that was known, a request may have been planned with it."""
    serving, refused, second, third = Serving(first), snapshot(2), snapshot(3), snapshot(4)
    serving.announce(refused)
    serving.announce(second)
    serving.swap(second, now=0.0)
    assert serving.targets == {**first.targets, **refused.targets, **second.targets}
    serving.swap(third, now=RETAINED_SECONDS)
    assert serving.targets == {**second.targets, **third.targets}
