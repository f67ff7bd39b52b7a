"""What differs between generations of Gemini, by the model's name: https://ai.google.dev/gemini-api/docs/models"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# gemini-2.5-flash-lite, gemini-3-pro-preview, models/gemini-3.1-flash …
_NAME: Final = re.compile(r"gemini-(\d{1,2})(?:\.(\d{1,2}))?-(pro|flash-lite|flash)?")
_MAKES_MEDIA: Final = re.compile(r"-(?:image|tts)")
_ALIAS: Final = re.compile(r"gemini-(?:pro|flash|flash-lite)-latest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """``levels`` are the values of ``thinkingLevel``, weakest first; without them thinking has a budget, or is none."""

    levels: tuple[str, ...] = ()
    least_budget: int = 0
    most_budget: int = 0
    optional: bool = False
    """Thinking can be switched off, by a budget of 0."""
    signs_calls: bool = False
    """A function call in the history is refused without its thought's signature."""
    tools_and_format: bool = False
    """``responseMimeType: application/json`` is accepted beside tools."""
    fetches: bool = True
    """https addresses are accepted as ``fileUri`` by AI Studio."""
    results_with_media: bool = False
    """Parts with media are accepted in a function's response."""

    @property
    def thinks(self) -> bool:
        """Whether it thinks at all."""
        return bool(self.levels or self.most_budget)


@lru_cache(maxsize=256)
def model_facts(name: str) -> Model:
    """The facts of a model. One whose name tells nothing is taken to be of today's generation."""
    found = _NAME.search(name)
    if found is not None and int(found[1]) < 3 and _MAKES_MEDIA.search(name):
        return Model(fetches=False)
    if found is not None:
        return _gemini((int(found[1]), int(found[2] or 0)), found[3] or "flash")
    if _ALIAS.search(name):
        # Google moves these from one generation to the next. Budgets are taken by all of them.
        return Model(least_budget=512, most_budget=24_576, signs_calls=True)
    return Model()


def _gemini(version: tuple[int, int], line: str) -> Model:
    if version >= (3, 0):
        weakest = ("MINIMAL",) if line != "pro" and version < (3, 7) else ()
        middle = () if line == "pro" and version < (3, 1) else ("MEDIUM",)
        return Model(
            levels=(*weakest, "LOW", *middle, "HIGH"),
            signs_calls=True,
            tools_and_format=True,
            results_with_media=True,
        )
    if version < (2, 5):
        return Model(fetches=False)
    # https://ai.google.dev/gemini-api/docs/thinking#set-budget
    match line:
        case "pro":
            return Model(least_budget=128, most_budget=32_768)
        case "flash-lite":
            return Model(least_budget=512, most_budget=24_576, optional=True)
    return Model(least_budget=1, most_budget=24_576, optional=True)
