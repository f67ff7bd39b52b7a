"""The models that a config leads to: what is looked up of them beforehand, and what if one has no price."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.errors import ModelUnpriced
from extproc.exchange.snapshot import Plan, Snapshot, Target
from extproc.metering.counting import preload


def known_models(snapshot: Snapshot) -> Iterator[tuple[Target, str | None]]:
    """Each target with each model that it is asked for by name; None where a glob leaves the name to clients."""
    plans = [*snapshot.exact.items(), *((None, plan) for _, plan in snapshot.globs)]
    known: dict[tuple[str, str | None], Target] = {}
    for name, plan in plans:
        asked = None if name is None else plan.upstream_name(name)
        known.update(((target.name, target.settings.model or asked), target) for target in plan.targets)
    yield from ((target, model) for (_, model), target in known.items())


def look_up_prices(snapshot: Snapshot) -> None:
    """So that the first request does not wait for the list of prices to be read."""
    for target, model in known_models(snapshot):
        target.price(model or "", at=snapshot.loaded_at)
        target.facts(model or "")


def load_vocabularies(snapshot: Snapshot) -> None:
    """So that no request waits for one, which may take most of a second. The embedded model tells its own tokens."""
    preload(model for target, model in known_models(snapshot) if model and target.provider.answer is None)


def priced(targets: tuple[Target, ...], plan: Plan, asked: str, *, at: float) -> tuple[Target, ...]:
    """The targets without those whose price is not known although it has to be. Raises ModelUnpriced for none."""
    model = plan.upstream_name(asked)
    kept = tuple(
        target
        for target in targets
        if target.unpriced != "reject" or target.price(target.settings.model or model, at=at) is not None
    )
    if not kept:
        backends = ", ".join(target.backend for target in targets)
        message = f"The model '{asked}' has no known price at {backends}, and this gateway does not serve such models."
        raise ModelUnpriced(message, param="model")
    return kept
