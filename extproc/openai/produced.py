"""What an answer has said so far, kept for counting in case nobody tells what it used: bounded, in clients' words."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import Any, Final

_MOST: Final = 32 << 10
"""Characters that are kept; of what comes after, only the length is known."""
_TEXTS: Final = ("content", "reasoning_content", "reasoning", "refusal", "text")


class Produced:
    """Texts of deltas or messages, tool calls included."""

    __slots__ = ("_beyond", "_kept", "_size")

    def __init__(self) -> None:
        self._kept = StringIO()
        self._size = 0
        self._beyond = 0

    @property
    def text(self) -> str:
        """The beginning of what was said."""
        return self._kept.getvalue()

    @property
    def beyond(self) -> int:
        """Characters that were said after that."""
        return self._beyond

    @property
    def characters(self) -> int:
        """All that was said."""
        return self._size + self._beyond

    def add(self, text: str) -> None:
        """A piece more."""
        if self._size < _MOST:
            self._size += len(text)
            self._kept.write(text)
        else:
            self._beyond += len(text)

    def add_choices(self, choices: object) -> None:
        """Those of a reply, a chunk of one, or a text completion; what has another shape says nothing."""
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self.add_choice(choice)

    def add_choice(self, choice: Mapping[str, Any]) -> None:
        """One of them."""
        said = choice.get("delta") or choice.get("message") or choice
        if isinstance(said, dict):
            self.add_said(said)

    def add_said(self, said: Mapping[str, Any]) -> None:
        """A delta, a message, or a choice of a text completion."""
        for name in _TEXTS:
            text = said.get(name)
            if isinstance(text, str):
                self.add(text)
        calls = said.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            for part in function.values() if isinstance(function, dict) else ():
                if isinstance(part, str):
                    self.add(part)
