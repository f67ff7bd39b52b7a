"""What a user's text offers to fill JSON values with: what follows its prepositions, its numbers, its words.

"Weather for Paris in celsius, 3 days" offers the phrases "Paris" and "celsius" and the number 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from extproc.providers.demo.tokens import words

_READ: Final = 4_000
"""Characters of a text that are looked at."""
_LONGEST: Final = 80
"""Characters of a string that is written from it."""

_PREPOSITIONS: Final = frozenset(
    {"about", "at", "called", "for", "from", "in", "named", "near", "of", "on", "to", "with"}
)
_DIRECTIONS: Final = frozenset({"from", "to"})
_ENDINGS: Final = frozenset({"and", "or", "but", "is", "are", "please", "now", "today", "tomorrow", "yesterday"})
_ARTICLES: Final = frozenset({"a", "an", "the", "my", "your", "our"})
_MARKS: Final = ".,;:!?…\"'`()[]{}<>“”‘’"
_NUMBER: Final = re.compile(r"(?<![\w.])-?[0-9]{1,12}(?:\.[0-9]{1,6})?(?!\w)")


class Offered:
    """Hands out what a text offers, each phrase and number once and in the text's order."""

    def __init__(self, text: str) -> None:
        self.whole = " ".join(text[:_READ].split())[:_LONGEST].rstrip()
        """The beginning of the text, empty when it has no words."""
        self._words = f" {' '.join(words(text[:_READ]))} "
        self._phrases = list(_phrases(text[:_READ].split()))
        self._numbers = _NUMBER.findall(text[:_READ])

    def phrase(self, name: str) -> str | None:
        """The phrase for a property called ``name``; None when none is left.

        One whose preposition is a word of the name is taken first, and nothing else for a name with "from" or "to";
        then the next one, those after "to" last, since "to" also stands before verbs.
        """
        named = set(words(name.replace("_", " ")))
        fitting = [phrase for phrase in self._phrases if phrase[0] in named]
        if not fitting and named.isdisjoint(_DIRECTIONS):
            fitting = sorted(self._phrases, key=lambda phrase: phrase[0] == "to")
        if not fitting:
            return None
        self._phrases.remove(fitting[0])
        return fitting[0][1]

    def number(self) -> str | None:
        """The next number, as it is written; None when none is left."""
        return self._numbers.pop(0) if self._numbers else None

    def mentions(self, value: object) -> bool:
        """Whether the words of ``value``, a string or a number, stand in the text, next to each other."""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return False
        wanted = " ".join(words(str(value)[:_LONGEST]))
        return bool(wanted) and f" {wanted} " in self._words


def _phrases(parts: list[str]) -> Iterator[tuple[str, str]]:
    preposition: str | None = None
    phrase: list[str] = []
    for part in [*parts, "."]:
        word = part.strip(_MARKS)
        begins = word.lower() in _PREPOSITIONS
        ends = begins or word.lower() in _ENDINGS or not word
        if not ends and preposition is not None and not (word.lower() in _ARTICLES and not phrase):
            phrase.append(word)
        if ends or part[-1] in _MARKS:
            if preposition is not None and not all(map(str.isdecimal, phrase)):
                yield preposition, " ".join(phrase)[:_LONGEST].rstrip()
            preposition, phrase = (word.lower() if begins else None), []
