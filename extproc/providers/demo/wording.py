"""What every text of the demo model is made of: who speaks, what it was sent, and what to do next."""

from __future__ import annotations

from typing import Final

from extproc.providers.demo.envelope import MODEL

CLOSING: Final = "I answer offline and always alike; connect a provider to Kortex for a model that thinks."

_OPENINGS: Final = (
    f"Hello from {MODEL}, the demo model inside Kortex.",
    f"This is {MODEL}, Kortex's built-in demo model.",
    f"{MODEL} here, the model that Kortex brings along.",
)
_EXCERPT: Final = 280
"""Characters of a text that are said back."""


def opening(choice: int) -> str:
    """The first sentence. ``choice`` counts the answers to one request, so that they begin differently."""
    return _OPENINGS[choice % len(_OPENINGS)]


def quote(text: str) -> str:
    """``text`` in quotation marks, ending a sentence."""
    said = excerpt(text)
    return f'"{said}"' if said.endswith((".", "!", "?")) else f'"{said}".'


def excerpt(text: str) -> str:
    """The beginning of ``text`` on one line, cut between two words where it has them."""
    line = " ".join(text[: 4 * _EXCERPT].split())
    if len(line) <= _EXCERPT and len(text) <= 4 * _EXCERPT:
        return line
    return f"{line[:_EXCERPT].rpartition(' ')[0] or line[:_EXCERPT]} ..."
