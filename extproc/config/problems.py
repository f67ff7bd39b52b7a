"""What is wrong with a configuration, said to the person who wrote it: where, what, and how to mend it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")

Path = tuple[str | int, ...]
"""The keys and list indices that lead from the root of the file to an entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to mend. Its text is ``12: routes.production: unknown key "fallbak", did you mean "fallback"?``

    so that it reads well behind ``kortex.yaml:``. It never holds a value that could be a secret.
    """

    path: str
    """The entry, such as ``backends.claude.url`` or ``routes.all.models[0]``; empty for the file as a whole."""
    message: str
    hint: str | None = None
    """How to mend it, when that can be guessed; it continues the message's sentence."""
    line: int | None = None
    """Counted from 1."""

    def __str__(self) -> str:
        where = "".join(f"{part}: " for part in (self.line, self.path) if part)
        return f"{where}{self.message}" + (f", {self.hint}" if self.hint else "")

    @property
    def alone(self) -> str:
        """The same where no file is named before it, as in logs."""
        return f"line {self}" if self.line else str(self)


class ConfigError(Exception):
    """The configuration cannot be used. ``problems`` are all that were found, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(problem.alone for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A problem before its place is spelled out: ``entry`` is the key of ``path`` at fault, where there is one."""

    path: Path
    message: str
    hint: str | None = None
    entry: str | None = None
    line: int | None = None

    @property
    def place(self) -> Path:
        """The exact entry, for finding its line."""
        return self.path if self.entry is None else (*self.path, self.entry)


def quoted(word: str, *, longest: int = 80) -> str:
    """A word of the operator's in quotes: shortened when long, and escaped where it holds what would not print."""
    shown = word if len(word) <= longest else f"{word[:longest]}…"
    return json.dumps(shown, ensure_ascii=not shown.isprintable())


def spell(path: Path) -> str:
    """``("routes", "a.b", "models", 0)`` → ``routes."a.b".models[0]``."""
    spelled = ""
    for part in path:
        if isinstance(part, int):
            spelled += f"[{part}]"
        else:
            spelled += ("." if spelled else "") + (part if _PLAIN_KEY.fullmatch(part) else quoted(part))
    return spelled


def suggest(word: str, known: Iterable[str], *, otherwise: str) -> str:
    """A hint for a word that is not among the known ones: the nearest, or all of them behind ``otherwise``."""
    by_letters = {_letters(name): name for name in sorted(known)}
    near = difflib.get_close_matches(_letters(word), by_letters, n=1)
    if near:
        return f"did you mean {quoted(by_letters[near[0]])}?"
    return f"{otherwise} {', '.join(by_letters.values())}" if by_letters else f"{otherwise} none"


def _letters(word: str) -> str:
    return word.casefold().replace("_", "").replace("-", "")
