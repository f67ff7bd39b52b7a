"""What is known of a model: how much it holds, how much it says, what it can do. What is not known is None."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from extproc.config.backends import Backend
from extproc.metering.price_list import listed_window

_FEATURES: Final = ("vision", "audio", "files", "tools", "json_schema", "reasoning")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Windows in tokens. A feature is True, False, or None where nobody says: what is not known excludes nothing."""

    context_window: int | None = None
    max_output: int | None = None
    vision: bool | None = None
    audio: bool | None = None
    files: bool | None = None
    tools: bool | None = None
    json_schema: bool | None = None
    reasoning: bool | None = None

    @property
    def lacking(self) -> frozenset[str]:
        """The features that it is known not to have."""
        return frozenset([name for name in _FEATURES if getattr(self, name) is False])


def facts_for(settings: Backend, *, price_list: str | None, model: str) -> ModelFacts:
    """The facts of a backend's model: the config's word first, then the list's, which knows windows alone.

    ``price_list`` is the name that the list has for the provider.
    """
    window = settings.context_window
    if window is None:
        window = listed_window(settings.url, price_list, model)
    told = settings.capabilities
    return ModelFacts(
        context_window=window,
        max_output=settings.max_output,
        vision=told.vision,
        audio=told.audio,
        files=told.files,
        tools=told.tools,
        json_schema=told.json_schema,
        reasoning=told.reasoning,
    )
