"""Counting the tokens of a text for a model; one longer than can be counted in a few milliseconds is sampled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, Protocol

from extproc.metering.families import Family, family_of
from extproc.metering.vocabularies import Vocabulary, vocabulary

_SAMPLES: Final = 128
_WIDEST_CHARACTER: Final = 4
"""Bytes of UTF-8."""
_SHORTEST_PIECE: Final = 1_024
_MOST_PIECES: Final = 16_384
_MOST_COUNTED: Final = 16_384
"""Texts whose tokens are remembered: a conversation sends all that was said before with every turn."""


class TokenCounter(Protocol):
    """What counts for one model."""

    def count(self, text: str) -> int:
        """How many tokens ``text`` is, or would be at the model's scale."""


@dataclass(frozen=True, slots=True)
class ModelCounter:
    """Counts as one family of models does. Its vocabulary is loaded when it is first needed."""

    family: Family

    def count(self, text: str) -> int:
        """How many tokens ``text`` is."""
        return self.count_all((text,))[0]

    def longer_than(self, text: str, limit: int) -> bool:
        """The same as ``count(text) > limit``, at the least cost."""
        return self.all_longer_than((text,), limit)

    def count_all(self, texts: Sequence[str]) -> tuple[int, bool]:
        """The tokens of all texts together, and whether each was counted to its end."""
        words = vocabulary(self.family.vocabulary)
        if _is_long(texts, words):
            return self._scaled(_sampled(texts, words)), False
        known = _counted(self.family.vocabulary)
        counts = [known.get((hash(text), len(text))) or _count(text, words, known) for text in texts]
        return self._scaled(sum(counts)), True

    def all_longer_than(self, texts: Sequence[str], limit: int) -> bool:
        """The same as ``count_all(texts)[0] > limit``: by the number of bytes alone where that tells enough."""
        least = self._least_over(limit)
        if least <= 0:
            return True
        if _most(texts) < least:
            return False
        words = vocabulary(self.family.vocabulary)
        if sum(map(len, texts)) // words.longest >= least:
            return True
        if _is_long(texts, words):
            return _sampled(texts, words) >= least
        return _reaches(texts, words, least)

    def _scaled(self, counted: int) -> int:
        return counted * self.family.percent // 100

    def _least_over(self, limit: int) -> int:
        """The smallest count that is more than ``limit`` when scaled."""
        return -(-(limit + 1) * 100 // self.family.percent)


@lru_cache(maxsize=1_024)
def counter_for(model: str) -> ModelCounter:
    """The counter of a model, by the provider's name for it. Cheap: it loads nothing yet."""
    return ModelCounter(family_of(model))


def preload(models: Iterable[str]) -> None:
    """Load the vocabularies of these models. It holds the interpreter's lock, so before the first request."""
    for name in {family_of(model).vocabulary for model in models}:
        vocabulary(name)


@cache
def _counted(_vocabulary: str) -> dict[tuple[int, int], int]:
    """By the hash and the length of each text, which are kept in place of texts of any size."""
    return {}


def _count(text: str, words: Vocabulary, known: dict[tuple[int, int], int]) -> int:
    if len(known) >= _MOST_COUNTED:
        known.clear()
    counted = known[hash(text), len(text)] = words.count(text)
    return counted


def _is_long(texts: Sequence[str], words: Vocabulary) -> bool:
    return len(texts) > _MOST_PIECES or sum(map(len, texts)) > words.most


def _most(texts: Sequence[str]) -> int:
    """No text has more tokens than bytes, but for the space that SentencePiece puts before each piece of it."""
    by_bytes = sum(len(text) if text.isascii() else _WIDEST_CHARACTER * len(text) for text in texts)
    return by_bytes + len(texts) + by_bytes // _SHORTEST_PIECE


def _reaches(texts: Iterable[str], words: Vocabulary, least: int) -> bool:
    left = least - 1
    for text in texts:
        counted = words.count_until(text, left)
        if counted is None:
            return True
        left -= counted
    return False


def _sampled(texts: Sequence[str], words: Vocabulary) -> int:
    """What slices at even distances have, scaled by their share of the characters, within the bounds by bytes."""
    slices = (
        _slices_of_many(texts, words.most) if len(texts) > _SAMPLES else _slices_of_long("".join(texts), words.most)
    )
    counted = sum(map(words.count, slices))
    read, total = sum(map(len, slices)), sum(map(len, texts))
    scaled = counted * total // read if read else 0
    return min(max(scaled, total // words.longest), _most(texts))


def _slices_of_long(text: str, most: int) -> list[str]:
    width, step = most // _SAMPLES, len(text) // _SAMPLES
    return [text[start * step : start * step + width] for start in range(_SAMPLES)]


def _slices_of_many(texts: Sequence[str], most: int) -> list[str]:
    """Joined, short texts would have other tokens than each has by itself."""
    chosen = texts[:: len(texts) // _SAMPLES]
    return [text[: most // len(chosen)] for text in chosen]
