"""What no single rule can know: whether a route's rules can be reached, can match, and have somebody to send calls to.

Works on plain values, as ``consistency`` does, and skips what is not of the right shape.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from extproc.config.problems import Finding, Path, quoted, spell

_WILDCARDS: Final = frozenset("*?")
_WEIGHTED: Final = "weighted"
_EVERYTHING: Final = "{}"


def rule_contradictions(path: Path, route: object) -> Iterator[Finding]:
    """Why a rule would never do what it says."""
    rules = _rules(route)
    yield from _same_names(path, rules)
    yield from _unreachable(path, rules)
    yield from _affinity_without_weights(path, route)
    for place, rule in rules:
        there = (*path, *place)
        yield from _impossible_match(there, rule.get("match"), route)
        yield from _idle_keys(there, rule)
        yield from _repeated_backends(there, rule)
        yield from _affinity_without_weights(there, rule)
        if _drained(rule) and not _has_fallback(route):
            message = "every backend of this rule is drained by weight 0, and the route has no fallback"
            yield Finding(path=(*there, "backends"), message=message)
    match route:
        case {"defaultBackend": {"weight": 0}} if not _has_fallback(route):
            message = "the default backend is drained by weight 0, and the route has no fallback"
            yield Finding(path=(*path, "defaultBackend", "weight"), message=message)


def rule_doubts(path: Path, route: object) -> Iterator[Finding]:
    """What works but is hardly meant."""
    for place, rule in _rules(route):
        there = (*path, *place)
        names = [name for _, name, _ in _backends(rule)]
        if len(names) == 1 and "strategy" in rule:
            yield Finding(path=(*there, "strategy"), message="this rule has one backend: there is nothing to order")
        for index, name, weight in _backends(rule):
            if weight == 0 and name in _fallback(route):
                message = f"{quoted(name)} is drained here, so that this rule's calls do not fall back to it either"
                yield Finding(path=(*there, "backends", index), message=message)


def rule_backends(route: object) -> Iterator[tuple[Path, str]]:
    """Every name of a backend in rules, with its place."""
    for place, rule in _rules(route):
        for index, name, _ in _backends(rule):
            yield (*place, "backends", index, "name"), name


def _same_names(path: Path, rules: Sequence[tuple[Path, Mapping[str, Any]]]) -> Iterator[Finding]:
    first: dict[str, Path] = {}
    for place, rule in rules:
        name = rule.get("name")
        if isinstance(name, str):
            if name in first:
                message = f"{quoted(name)} is already the name of {spell(first[name])}"
                yield Finding(path=(*path, *place, "name"), message=message)
            first.setdefault(name, place)


def _unreachable(path: Path, rules: Sequence[tuple[Path, Mapping[str, Any]]]) -> Iterator[Finding]:
    """A rule matches everything, or the same, before this one."""
    seen: dict[str, Path] = {}
    for place, rule in rules:
        wanted = json.dumps(rule.get("match", {}), sort_keys=True)
        before = next((key for key in (_EVERYTHING, wanted) if key in seen), None)
        if before is not None:
            what = "matches every call" if before == _EVERYTHING else "has the same match"
            message = f"no call reaches this rule, because {spell(seen[before])} before it {what}"
            yield Finding(path=(*path, *place), message=message, hint="the first rule that matches decides")
        seen.setdefault(wanted, place)


def _impossible_match(path: Path, wanted: object, route: object) -> Iterator[Finding]:
    if not isinstance(wanted, dict):
        return
    for key in ("promptTokens", "maxTokens"):
        bounds = wanted.get(key)
        if bounds == {}:
            hint = "give at least one of gt, gte, lt, lte"
            yield Finding(path=(*path, "match", key), message="there is no bound here", hint=hint)
        elif isinstance(bounds, dict) and _is_empty(bounds):
            yield Finding(path=(*path, "match", key), message="no number is within these bounds")
    models = [model for model in route.get("models", ()) if isinstance(model, str)] if isinstance(route, dict) else []
    asked = wanted.get("model")
    for model in [asked] if isinstance(asked, str) else asked if isinstance(asked, list) else []:
        if isinstance(model, str) and models and not any(_may_be(model, other) for other in models):
            message = f"the route's models do not include {quoted(model)}"
            yield Finding(path=(*path, "match", "model"), message=message)


def _may_be(model: str, other: str) -> bool:
    """Whether one name can fit both; two globs are not compared."""
    if _WILDCARDS & set(model):
        return bool(_WILDCARDS & set(other)) or _fits(other, model)
    return _fits(model, other)


def _fits(model: str, glob: str) -> bool:
    return fnmatch.fnmatchcase(model, glob.replace("[", "[[]"))


def _is_empty(bounds: Mapping[str, object]) -> bool:
    numbers = {name: bound for name, bound in bounds.items() if isinstance(bound, int)}
    least = max(numbers.get("gt", -1) + 1, numbers.get("gte", 0))
    most = [numbers[name] - (name == "lt") for name in ("lt", "lte") if name in numbers]
    return any(least > bound for bound in most)


def _idle_keys(path: Path, rule: Mapping[str, Any]) -> Iterator[Finding]:
    for key in ("strategy", "affinity"):
        for result, what in (("refuse", "refuses"), ("experiment", "leads to an experiment")):
            if result in rule and "backends" not in rule and key in rule:
                message = f"a rule that {what} has no backends for {key!r}"
                yield Finding(path=(*path, key), message=message)


def _repeated_backends(path: Path, rule: Mapping[str, Any]) -> Iterator[Finding]:
    names: list[str] = []
    for index, name, _ in _backends(rule):
        if name in names:
            message = f"{quoted(name)} stands twice in this list"
            yield Finding(path=(*path, "backends", index), message=message, hint="give it one weight")
        names.append(name)


def _affinity_without_weights(path: Path, place: object) -> Iterator[Finding]:
    match place:
        case {"affinity": dict(), "strategy": str(strategy)} if strategy != _WEIGHTED:
            message = f"the strategy {quoted(strategy)} knows no affinity"
            yield Finding(path=(*path, "affinity"), message=message, hint="only weighted keeps units on one backend")


def _drained(rule: Mapping[str, Any]) -> bool:
    weights = [weight for _, _, weight in _backends(rule)]
    return bool(weights) and all(weight == 0 for weight in weights)


def _has_fallback(route: object) -> bool:
    return bool(_fallback(route))


def _fallback(route: object) -> list[object]:
    match route:
        case {"fallback": {"backends": [*names]}}:
            return names
        case _:
            return []


def _rules(route: object) -> list[tuple[Path, Mapping[str, Any]]]:
    match route:
        case {"rules": [*rules]}:
            return [(("rules", index), rule) for index, rule in enumerate(rules) if isinstance(rule, dict)]
        case _:
            return []


def _backends(rule: Mapping[str, Any]) -> Iterator[tuple[int, str, object]]:
    match rule:
        case {"backends": [*refs]}:
            for index, ref in enumerate(refs):
                match ref:
                    case {"name": str(name)}:
                        yield index, name, ref.get("weight")
