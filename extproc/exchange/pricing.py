"""The models that a config leads to: what is looked up of them beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from extproc.exchange.snapshot import Snapshot
from extproc.metering.counting import preload
from extproc.routing.target import Target

_LOOKED_UP: Final = 1_000
"""As many as are remembered, and more than are asked for soon: a large config has a hundred thousand."""


def known_models(snapshot: Snapshot) -> Iterator[tuple[Target, str | None]]:
    """Each target with each model that it is asked for by name; None where a glob leaves the name to clients."""
    routes = [*snapshot.exact.items(), *((None, route) for _, route in snapshot.globs)]
    known: dict[tuple[str, str | None], Target] = {}
    for name, route in routes:
        asked = None if name is None else route.upstream_name(name)
        known.update(((target.name, target.settings.model or asked), target) for target in route.targets)
    yield from ((target, model) for (_, model), target in known.items())


def look_up_prices(snapshot: Snapshot) -> None:
    """So that the first request does not wait for the list of prices to be read."""
    for target, model in islice(known_models(snapshot), _LOOKED_UP):
        target.price(model or "", at=snapshot.loaded_at)
        target.facts(model or "")


def load_vocabularies(snapshot: Snapshot) -> None:
    """So that no request waits for one, which may take most of a second. The embedded model tells its own tokens."""
    preload(model for target, model in known_models(snapshot) if model and target.provider.answer is None)
