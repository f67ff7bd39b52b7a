"""How long a prompt is, in tokens, as far as a decision needs to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from extproc.openai.call import Operation

_CHARACTERS: Final = 4
_INPUT: Final = {Operation.CHAT: "messages", Operation.TEXT_COMPLETION: "prompt", Operation.EMBEDDINGS: "input"}


def count(fields: Mapping[str, Any], operation: Operation, model: str) -> int:  # noqa: ARG001 - one ratio for all
    """Tokens of the whole prompt."""
    return -(-sum(len(text) for text in _texts(fields.get(_INPUT[operation]))) // _CHARACTERS)


def longer_than(fields: Mapping[str, Any], operation: Operation, model: str, limit: int) -> bool:  # noqa: ARG001 - as above
    """Whether there are more tokens than ``limit``; stops there."""
    characters = 0
    for text in _texts(fields.get(_INPUT[operation])):
        characters += len(text)
        if characters > limit * _CHARACTERS:
            return True
    return False


def requested_output(fields: Mapping[str, Any]) -> int | None:
    """The client's limit for the answer."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            yield from _texts(item.get("content"))
            yield from _texts(item.get("text"))
        else:
            yield from _texts(item)
