"""Counting the tokens of a text for a model; one longer than can be counted in a few milliseconds is sampled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from extproc.metering.families import Family, family_of
from extproc.metering.vocabularies import Vocabulary, vocabulary

_SAMPLES: Final = 128
_WIDEST_CHARACTER: Final = 4
"""Bytes of UTF-8."""
_SHORTEST_PIECE: Final = 1_024
_MOST_PIECES: Final = 16_384


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
        return self._scaled(sum(map(words.count, texts))), True

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
    """Slices at even distances, scaled by their share of the characters; never outside the bounds by bytes."""
    text = "\n".join(texts)
    width = words.most // _SAMPLES
    step = len(text) // _SAMPLES
    slices = [text[start * step : start * step + width] for start in range(_SAMPLES)]
    counted = sum(map(words.count, slices))
    read = sum(map(len, slices))
    scaled = counted * len(text) // read if read else 0
    return min(max(scaled, len(text) // words.longest), _most(texts))
