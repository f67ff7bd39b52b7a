"""What ``GET /v1/models`` lists: names that somebody wrote down, and where there are only globs, those that are sold.

A glob stands for names without end, and most clients can only choose from a list. Written down are a route's own names,
those of its rules and its backends' models where the glob fits them, and those of the caller's key. Where none of these
leads to a backend, the list of prices knows what the provider at its address sells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from extproc.admission.keyring import Key
from extproc.config import routes as written
from extproc.config.glob import any_of, is_glob
from extproc.metering.price_list import sold_models
from extproc.openai.call import Operation
from extproc.routing.route import CompiledRoute, Split
from extproc.routing.target import Target

RouteOf = Callable[[str], CompiledRoute | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """A name that clients may ask for. ``sold``: nobody wrote it down."""

    name: str
    owner: str
    backend: str
    sold: bool = False


def list_models(
    config: Mapping[str, written.Route],
    routes: Mapping[str, CompiledRoute],
    *,
    exact: Mapping[str, CompiledRoute],
    globbed: RouteOf,
    at: float,
) -> tuple[ListedModel, ...]:
    """Every name there is to list, each once. ``at``, in Unix seconds: what is sold has a price then."""
    found = {name: _named(name, route) for name, route in exact.items()}
    for name, route in routes.items():
        for model in _fitting(config[name], route, at):
            if model.name not in found and globbed(model.name) is route:
                found[model.name] = model
    return tuple(found.values())


def shown_models(models: tuple[ListedModel, ...], key: Key, route_of: RouteOf) -> Iterator[tuple[str, str]]:
    """(name, owner) of what a key may use. What is sold is left out where a name that it sees leads to that backend."""
    shown = [model for model in models if _may_use(key, model.name, route_of) is not None]
    known = {model.backend for model in shown if not model.sold}
    names = {model.name: model.owner for model in shown if not model.sold or model.backend not in known}
    for name in key.models or ():
        route = None if is_glob(name) or name in names else _may_use(key, name, route_of)
        if route is not None:
            names[name] = _named(name, route).owner
    yield from names.items()


def _may_use(key: Key, name: str, route_of: RouteOf) -> CompiledRoute | None:
    route = route_of(name) if key.allows_model(name) else None
    return route if route is not None and key.allows_route(route.name) else None


def _named(name: str, route: CompiledRoute) -> ListedModel:
    first = route.targets[0]
    return ListedModel(name=name, owner=first.provider.name, backend=first.backend)


def _fitting(config: written.Route, route: CompiledRoute, at: float) -> Iterator[ListedModel]:
    """What the globs of a route fit, and no rule refuses by its name alone."""
    globs = tuple(name for name in config.models if is_glob(name))
    if not globs:
        return
    refused = tuple(
        name
        for rule in config.rules
        if rule.refuse is not None and rule.match.model_fields_set == {"model"}
        for name in rule.match.model or ()
    )
    for model in _reached(config, route, at):
        if any_of(globs).fullmatch(model.name) and not (refused and any_of(refused).fullmatch(model.name)):
            yield model


def _reached(config: written.Route, route: CompiledRoute, at: float) -> Iterator[ListedModel]:
    """By a rule that asks for a name, or by default: another rule's backends are reached by any name."""
    prefix = config.strip_prefix or ""
    for rule, compiled in zip(config.rules, route.rules, strict=True):
        if rule.match.model is None or not isinstance(compiled.result, Split):
            continue
        targets = [choice.target for choice in compiled.result.choices]
        for name in rule.match.model:
            if not is_glob(name):
                yield _at(targets[0], name)
        for target in targets:
            yield from (one for one in _has(target, prefix, at) if any_of(rule.match.model).fullmatch(one.name))
    yield from _has(route.targets[0], prefix, at)


def _has(target: Target, prefix: str, at: float) -> Iterator[ListedModel]:
    if target.settings.model is not None:
        yield _at(target, prefix + target.settings.model)
        return
    for model in _sold(target, at):
        if any(target.translator(operation, model) is not None for operation in Operation):
            yield _at(target, prefix + model, sold=True)


def _sold(target: Target, at: float) -> Iterator[str]:
    """Others' models in the same price list are not to be had here, nor are models where names are an account's own."""
    environment = target.provider.environment
    own = () if environment is None else environment.models
    if target.provider.answer is not None or not (own or environment is None or environment.lists):
        return
    for model in sold_models(target.settings.url, at=at):
        if not own or any_of(own).fullmatch(model):
            yield model


def _at(target: Target, name: str, *, sold: bool = False) -> ListedModel:
    return ListedModel(name=name, owner=target.provider.name, backend=target.backend, sold=sold)
