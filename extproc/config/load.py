"""kortex.yaml's bytes → Config, or every problem in them at once, each with its path, its line and a hint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import create_model

from extproc.config.backends import Backend
from extproc.config.consistency import contradictions, doubts
from extproc.config.gateway import Config
from extproc.config.problems import ConfigError, Finding, Path, Problem, quoted, spell, suggest
from extproc.config.scalars import Name
from extproc.config.validation import validate
from extproc.config.yaml_text import Document, read

__all__ = ["ConfigError", "Loaded", "Problem", "load"]

# Config with its backends still plain: only the provider of each tells which settings they have.
_OUTLINE: Final[type[Config]] = create_model("Outline", __base__=Config, backends=(dict[Name, dict[str, Any]], {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A usable configuration, and what in it is hardly meant."""

    config: Config
    warnings: tuple[Problem, ...]


def load(text: bytes, settings: Mapping[str, type[Backend]]) -> Loaded:
    """One YAML document as a configuration; ``settings`` are the providers' own models by provider name.

    An empty file means the defaults. Raises ConfigError with all problems.
    """
    document = read(text)
    value = document.root.plain()
    outline, found = validate(_OUTLINE, value, ())
    written: dict[str, object] = value if isinstance(value, dict) else {}
    backends: dict[str, Backend] = {}
    for name, entry in _plain_backends(written):
        backend, faults = _backend(name, entry, settings)
        found += faults
        if backend is not None:
            backends[name] = backend
    problems = _placed([*document.findings, *found, *contradictions(written)], document)
    if outline is None or problems:
        raise ConfigError(problems)
    parts = {str(field.alias): getattr(outline, name) for name, field in Config.model_fields.items()}
    config = Config.model_validate(parts | {"backends": backends})
    return Loaded(config=config, warnings=_placed(doubts(written), document))


def _plain_backends(config: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    match config:
        case {"backends": dict() as backends}:
            for name, entry in backends.items():
                if isinstance(entry, dict):
                    yield name, entry


def _backend(
    name: str, entry: Mapping[str, object], settings: Mapping[str, type[Backend]]
) -> tuple[Backend | None, list[Finding]]:
    path = ("backends", name)
    known = f"the providers are {', '.join(sorted(settings))}"
    match entry.get("provider"):
        case str(provider) if provider in settings:
            return validate(settings[provider], entry, path)
        case str(provider):
            message = f"unknown provider {quoted(provider)}"
            hint = suggest(provider, settings, otherwise="the providers are")
        case _ if "provider" in entry:
            message, hint = "must be the name of a provider", known
        case _:
            missing = Finding(path=path, message='the key "provider" is missing', hint=known, entry="provider")
            return None, [missing, *_wrong_for_all(entry, path, settings)]
    return None, [Finding(path=(*path, "provider"), message=message, hint=hint), *_wrong_for_all(entry, path, settings)]


def _wrong_for_all(entry: Mapping[str, object], path: Path, settings: Mapping[str, type[Backend]]) -> Iterator[Finding]:
    """What is wrong with a backend whichever provider it turns out to be; hints that depend on that are left out."""
    given = {**entry, "provider": ""}
    verdicts = [{finding.place: finding.hint for finding in validate(one, given, path)[1]} for one in settings.values()]
    for finding in validate(Backend, given, path)[1]:
        if all(finding.place in verdict for verdict in verdicts) and finding.place != (*path, "provider"):
            same = all(verdict[finding.place] == finding.hint for verdict in verdicts)
            yield finding if same else replace(finding, hint=None)


def _placed(findings: Iterable[Finding], document: Document) -> tuple[Problem, ...]:
    """In the order of the file, with lines, and without what only follows from an entry that could not be taken."""
    problems = [
        Problem(
            path=spell(finding.path),
            message=finding.message,
            hint=finding.hint,
            line=finding.line or document.line(finding.place),
        )
        for finding in findings
        if finding.line or not document.damaged(finding.place)
    ]
    return tuple(sorted(problems, key=lambda problem: (problem.line or 0, problem.path, problem.message)))
