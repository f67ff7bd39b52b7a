"""Patterns of names as operators write them: ``*`` is any text, ``?`` any one character, the rest stands for itself."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

WILDCARDS: Final = frozenset("*?")
_KNOWN: Final = 4_096


def is_glob(pattern: str) -> bool:
    """Whether a pattern stands for more than itself."""
    return not WILDCARDS.isdisjoint(pattern)


@lru_cache(maxsize=_KNOWN)
def glob(pattern: str) -> re.Pattern[str]:
    """For ``fullmatch``."""
    return re.compile(_translated(pattern), re.DOTALL)


@lru_cache(maxsize=_KNOWN)
def any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """For ``fullmatch`` of one of them; the same few tuples are asked for over and over."""
    return re.compile("|".join(map(_translated, patterns)), re.DOTALL)


def _translated(pattern: str) -> str:
    """What stands between two stars is taken where it first occurs, and never looked for again:

    with plain ``.*`` the time would grow by a power for each star.
    """
    if "*" not in pattern:
        return _literal(pattern)
    first, *inner, last = pattern.split("*")
    middle = "".join(f"(?>.*?{_literal(piece)})" for piece in inner)
    return f"{_literal(first)}{middle}.*{_literal(last)}"


def _literal(piece: str) -> str:
    return "".join("." if sign == "?" else re.escape(sign) for sign in piece)


def specificity(pattern: str) -> tuple[int, int]:
    """Sorts the glob with more literal characters, then with the longer literal start, first."""
    literal = sum(character not in WILDCARDS for character in pattern)
    start = next((index for index, character in enumerate(pattern) if character in WILDCARDS), len(pattern))
    return (-literal, -start)
