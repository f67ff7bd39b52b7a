"""Names of models with wildcards: ``*`` stands for any characters, ``?`` for one."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_WILDCARDS: Final = frozenset("*?")


def is_glob(pattern: str) -> bool:
    """Whether a model's name in a route stands for more than itself."""
    return not _WILDCARDS.isdisjoint(pattern)


@lru_cache(maxsize=4_096)
def glob(pattern: str) -> re.Pattern[str]:
    """For ``fullmatch``. What stands between two stars is taken where it first occurs, and never looked for again:

    with plain ``.*`` the time would grow by a power for each star.
    """
    if "*" not in pattern:
        return re.compile(_literal(pattern))
    first, *inner, last = pattern.split("*")
    middle = "".join(f"(?>.*?{_literal(piece)})" for piece in inner)
    return re.compile(f"{_literal(first)}{middle}.*{_literal(last)}")


def _literal(piece: str) -> str:
    return "".join("." if sign == "?" else re.escape(sign) for sign in piece)


def specificity(pattern: str) -> tuple[int, int]:
    """Sorts the glob with more literal characters, then with the longer literal start, first."""
    literal = sum(character not in _WILDCARDS for character in pattern)
    start = next((index for index, character in enumerate(pattern) if character in _WILDCARDS), len(pattern))
    return (-literal, -start)
