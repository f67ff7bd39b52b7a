"""Whether a route's experiments fit together with its rules. Works on plain values, as ``consistency`` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from extproc.config.problems import Finding, Path, quoted, spell, suggest


def experiment_backends(route: object) -> Iterator[tuple[Path, str]]:
    """The backends that a route's experiments name, and where."""
    for index, experiment in _experiments(route):
        for variant in ("control", "treatment"):
            match experiment.get(variant):
                case str(name):
                    yield ("experiments", index, variant), name


def experiment_faults(path: Path, route: object) -> Iterator[Finding]:
    """Experiments of the same name, and rules that name one which is not there."""
    names: list[str] = []
    for index, experiment in _experiments(route):
        match experiment.get("name"):
            case str(name):
                if name in names:
                    message = f"{quoted(name)} stands twice in this list"
                    yield Finding(path=(*path, "experiments", index, "name"), message=message)
                names.append(name)
    match route:
        case {"rules": [*rules]}:
            for index, rule in enumerate(rules):
                match rule:
                    case {"experiment": str(name)} if name not in names:
                        hint = suggest(name, names, otherwise="the route's experiments are") if names else None
                        message = f"the route has no experiment {quoted(name)}"
                        yield Finding(path=(*path, "rules", index, "experiment"), message=message, hint=hint)


def clashing_experiments(routes: Mapping[str, object]) -> Iterator[Finding]:
    """Experiments of two routes that share a name, and with it their variants and reports, but are not the same."""
    first: dict[str, tuple[Path, Mapping[str, object]]] = {}
    for route, settings in routes.items():
        for index, experiment in _experiments(settings):
            path = ("routes", route, "experiments", index)
            match experiment.get("name"):
                case str(name):
                    where, before = first.setdefault(name, (path, experiment))
                    if where[:2] != path[:2] and before != experiment:
                        message = f"{quoted(name)} is already the name of {spell(where)}, which is another experiment"
                        yield Finding(path=(*path, "name"), message=message)


def _experiments(route: object) -> Iterator[tuple[int, Mapping[str, object]]]:
    match route:
        case {"experiments": [*experiments]}:
            for index, experiment in enumerate(experiments):
                if isinstance(experiment, dict):
                    yield index, experiment
