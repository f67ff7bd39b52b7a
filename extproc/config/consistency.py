"""What no single entry can know: whether routes, backends and listeners fit together.

Works on plain values and skips what is not of the right shape, which ``validation`` reports: so that a misspelled key
and an unknown backend in the same route are told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from extproc.config.experiment_consistency import clashing_experiments, experiment_backends, experiment_faults
from extproc.config.gateway import Gateway
from extproc.config.glob import any_of
from extproc.config.problems import Finding, Path, quoted, spell, suggest
from extproc.config.rule_consistency import rule_backends, rule_contradictions, rule_doubts
from extproc.config.scalars import is_loopback, parse_address, split_address

_WILDCARDS: Final = frozenset("*?")
_LONGEST_MODEL: Final = 256
_EVERY_INTERFACE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def contradictions(config: Mapping[str, object]) -> Iterator[Finding]:
    """Why the parts do not fit together; each of these would be an error at some client's request."""
    routes, backends = _section(config, "routes"), config.get("backends", {})
    yield from _clashing_listeners(config)
    yield from _open_to_others(config)
    yield from _contradicting_keys(config)
    yield from _contradicting_limits(config, routes)
    yield from _models_in_two_routes(routes)
    yield from clashing_experiments(routes)
    for name, route in routes.items():
        path: Path = ("routes", name)
        yield from _impossible_models(path, route)
        yield from _pointless_prefix(path, route)
        yield from _pointless_fallback(path, route)
        yield from rule_contradictions(path, route)
        yield from experiment_faults(path, route)
        if isinstance(backends, dict):
            yield from _unknown_backends(path, route, backends)
    if _section(config, "backends") and config.get("routes", {}) == {}:
        yield Finding(
            path=("backends",),
            message="backends exist but no route leads to them",
            hint='add one under "routes", such as all: {models: ["*"], defaultBackend: {name: …}}',
        )


def doubts(config: Mapping[str, object]) -> Iterator[Finding]:
    """What works but is hardly meant."""
    routes = _section(config, "routes")
    if config.get("routes", {}) == {}:
        message = "nothing is served: there are no routes"
        hint = "write some, or start without a file, where the environment tells what there is"
        yield Finding(path=(), message=message, hint=hint)
    used = {name for route in routes.values() for _, name in _backend_names(route)}
    for name in _section(config, "backends"):
        if routes and name not in used:
            yield Finding(path=("backends", name), message="no route uses this backend")
    for name, route in routes.items():
        yield from rule_doubts(("routes", name), route)
        for place, model in _models(route):
            if _WILDCARDS & set(model) and set("[]{}") & set(model):
                message = f"brackets and braces in {quoted(model)} stand for themselves"
                yield Finding(path=("routes", name, *place), message=message, hint="only * and ? are wildcards")


def _clashing_listeners(config: Mapping[str, object]) -> Iterator[Finding]:
    gateway = _section(config, "gateway")
    addresses = []
    for key in ("listen", "admin"):
        try:
            address = parse_address(gateway.get(key, Gateway.model_fields[key].default))
        except ValueError:
            return
        addresses.append(split_address(str(address)))
    (host, port), (admin_host, admin_port) = addresses
    hosts = {host, admin_host}
    if port == admin_port != 0 and (len(hosts) == 1 or hosts & _EVERY_INTERFACE or hosts <= _LOOPBACK):
        message = f"listen and admin are both on port {port}"
        yield Finding(path=("gateway",), message=message, hint="give them different ports")


def _open_to_others(config: Mapping[str, object]) -> Iterator[Finding]:
    """Whoever reaches a gateway without keys spends its providers' credentials: that must be meant."""
    gateway = _section(config, "gateway")
    asks = "keys" in config or "keysFile" in config
    if gateway.get("auth") == "none":
        if asks:
            message = "asks nobody for a key, but there are keys"
            yield Finding(path=("gateway", "auth"), message=message, hint="leave one of them out")
        return
    try:
        address = str(parse_address(gateway.get("listen", Gateway.model_fields["listen"].default)))
    except ValueError:
        return
    if not asks and not is_loopback(address):
        message = f"{address} can be reached from other machines, and nobody is asked for a key"
        hint = 'add "keys" (kortex keys create makes one), or write gateway.auth: none if that is meant'
        yield Finding(path=("gateway", "listen"), message=message, hint=hint)


def _contradicting_keys(config: Mapping[str, object]) -> Iterator[Finding]:
    routes = _section(config, "routes")
    keys = config.get("keys")
    names: set[str] = set()
    for index, key in enumerate(keys if isinstance(keys, list) else ()):
        match key:
            case {"name": str(name)} if name in names:
                yield Finding(path=("keys", index, "name"), message=f"there is another key named {quoted(name)}")
            case {"name": str(name)}:
                names.add(name)
        match key:
            case {"routes": [*wanted]}:
                for place, route in enumerate(wanted):
                    if isinstance(route, str) and route not in routes:
                        hint = suggest(route, routes, otherwise="the routes are")
                        message = f"there is no route {quoted(route)}"
                        yield Finding(path=("keys", index, "routes", place), message=message, hint=hint)


def _contradicting_limits(config: Mapping[str, object], routes: Mapping[str, object]) -> Iterator[Finding]:
    """Counters and refusals go by name, so that no two may share one."""
    for section in ("limits", "budgets"):
        entries = config.get(section)
        first: dict[str, int] = {}
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if not isinstance(entry, dict):
                continue
            name = _name_of(entry) if section == "limits" else entry.get("name")
            if isinstance(name, str) and first.setdefault(name, index) != index:
                message = f"there is another one named {quoted(name)}, {section}[{first[name]}]"
                yield Finding(path=(section, index), message=message, hint="give one of them another name")
            yield from _unserved_aliases((section, index), entry, routes)


def _name_of(limit: Mapping[str, object]) -> str | None:
    """As ``extproc.admission.policy.name_of``, of plain values."""
    match limit.get("name", limit.get("per", "key")), "name" in limit:
        case str(name), True:
            return name
        case str(word), False:
            return f"per-{word}"
        case [*words], False:
            return "-".join(["per", *map(str, words)])
        case _:
            return None


def _unserved_aliases(path: Path, budget: Mapping[str, object], routes: Mapping[str, object]) -> Iterator[Finding]:
    served = tuple(model for route in routes.values() for _, model in _models(route))
    tiers = budget.get("tiers")
    for index, tier in enumerate(tiers if isinstance(tiers, list) else ()):
        match tier:
            case {"alias": str(alias)} if not any_of(served).fullmatch(alias):
                message = f"no route serves the model {quoted(alias)}"
                yield Finding(path=(*path, "tiers", index, "alias"), message=message)


def _models_in_two_routes(routes: Mapping[str, object]) -> Iterator[Finding]:
    first: dict[str, Path] = {}
    for name, route in routes.items():
        for place, model in _models(route):
            path = ("routes", name, *place)
            if model in first:
                yield Finding(path=path, message=f"{quoted(model)} is already at {spell(first[model])}")
            first.setdefault(model, path)


def _impossible_models(path: Path, route: object) -> Iterator[Finding]:
    faults: Mapping[str, Callable[[str], bool]] = {
        "must not be empty": lambda model: not model,
        "has white space around it, or characters that do not print": _is_untidy,
        f"is longer than {_LONGEST_MODEL} characters": lambda model: len(model) > _LONGEST_MODEL,
        "has two stars in a row, where one matches everything": lambda model: "**" in model,
    }
    for place, model in _models(route):
        fault = next((message for message, found in faults.items() if found(model)), None)
        if fault:
            yield Finding(path=(*path, *place), message=fault)


def _is_untidy(model: str) -> bool:
    return model != model.strip() or not model.isprintable()


def _pointless_prefix(path: Path, route: object) -> Iterator[Finding]:
    match route:
        case {"stripPrefix": str(prefix), "models": [*models]} if prefix and models:
            if not any(isinstance(model, str) and _may_begin_with(prefix, model) for model in models):
                message = f"none of the route's models begins with {quoted(prefix)}"
                yield Finding(path=(*path, "stripPrefix"), message=message)


def _may_begin_with(prefix: str, model: str) -> bool:
    head = model[: next((index for index, sign in enumerate(model) if sign in _WILDCARDS), len(model))]
    return head.startswith(prefix) or (head != model and prefix.startswith(head))


def _pointless_fallback(path: Path, route: object) -> Iterator[Finding]:
    match route:
        case {"defaultBackend": {"name": str(default)}, "fallback": {"backends": [only]}, **more} if (
            only == default and not more.get("rules")
        ):
            message = f"the only fallback is {quoted(default)}, the default backend itself"
            yield Finding(path=(*path, "fallback", "backends", 0), message=message)
        case {"fallback": {"backends": [*names]}}:
            for index, name in enumerate(names):
                if isinstance(name, str) and name in names[:index]:
                    message = f"{quoted(name)} stands twice in this list"
                    yield Finding(path=(*path, "fallback", "backends", index), message=message)


def _unknown_backends(path: Path, route: object, backends: Collection[str]) -> Iterator[Finding]:
    for place, name in _backend_names(route):
        if name not in backends:
            hint = suggest(name, backends, otherwise="the backends are")
            yield Finding(path=(*path, *place), message=f"there is no backend {quoted(name)}", hint=hint)


def _backend_names(route: object) -> Iterator[tuple[Path, str]]:
    match route:
        case {"defaultBackend": {"name": str(name)}}:
            yield ("defaultBackend", "name"), name
    match route:
        case {"fallback": {"backends": [*names]}}:
            for index, name in enumerate(names):
                if isinstance(name, str):
                    yield ("fallback", "backends", index), name
    yield from rule_backends(route)
    yield from experiment_backends(route)


def _models(route: object) -> Iterator[tuple[Path, str]]:
    match route:
        case {"models": [*models]}:
            for index, model in enumerate(models):
                if isinstance(model, str):
                    yield ("models", index), model


def _section(config: Mapping[str, object], key: str) -> Mapping[str, object]:
    section = config.get(key)
    return section if isinstance(section, dict) else {}
