"""The file of clients' keys beside the config: JSON lines, one key each; a hundred thousand are read in seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from extproc.admission.keyring import Cut, cut_key
from extproc.config.keys import ClientKey
from extproc.credentials.secrets import FilesRead

_MOST_PROBLEMS: Final = 20
_LARGEST: Final = 1 << 30


class KeyFileInvalid(Exception):
    """The file cannot be used; ``problems`` are sentences that never repeat what could be a secret."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """What opens, the names in use, and of each route that a key names, the first line that does."""

    cuts: tuple[Cut, ...]
    names: frozenset[str]
    routes: Mapping[str, int]


def read_key_file(path: Path, files: FilesRead | None = None) -> KeyFile:
    """What is read is added to ``files``. Raises KeyFileInvalid."""
    content = None if files is None else files.get(str(path))
    if content is None:
        content = _read(path)
    found = _parse(content)
    if files is not None:
        files[str(path)] = content
    return found


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise KeyFileInvalid(f"{path} is larger than {_LARGEST >> 30} GiB")
        return path.read_bytes()
    except OSError as error:
        raise KeyFileInvalid(f"{path} cannot be read: {error.strerror or error}") from None


def parse_keys(content: bytes) -> Iterator[tuple[int, ClientKey | str]]:
    """Each line that says something, by its number from 1: a key, or what is wrong with the line."""
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, ClientKey.model_validate_json(line, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the line"
            # An unknown key's name may itself be a secret that was pasted there.
            place = "a key" if first["type"] == "extra_forbidden" else place
            yield number, f"line {number}: {place}: {first['msg'].removeprefix('Value error, ')}"


@lru_cache(maxsize=1)
def _parse(content: bytes) -> KeyFile:
    """Remembered, because every reload of the config reads the file again, changed or not."""
    cuts: list[Cut] = []
    names: set[str] = set()
    routes: dict[str, int] = {}
    problems: list[str] = []
    for number, entry in parse_keys(content):
        if isinstance(entry, str):
            problems.append(entry)
        elif entry.secret is not None:
            problems.append(f"line {number}: secret: a key in this file has its hash here")
        elif entry.name in names:
            problems.append(f"line {number}: name: there is another key with this name")
        else:
            names.add(entry.name)
            cuts.extend(cut_key(entry))
            for route in entry.routes or ():
                routes.setdefault(route, number)
        if len(problems) == _MOST_PROBLEMS:
            break
    if problems:
        raise KeyFileInvalid(*problems)
    return KeyFile(cuts=tuple(cuts), names=frozenset(names), routes=routes)
