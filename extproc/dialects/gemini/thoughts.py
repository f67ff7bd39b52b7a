"""Thought signatures on their way through a client: packed into a tool call's id, and unpacked again.

"Return all signatures exactly as received": https://ai.google.dev/gemini-api/docs/thought-signatures
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from extproc.openai.tool_call_id import carried, carry

DIALECT: Final = "gemini"
PLACEHOLDER: Final = "skip_thought_signature_validator"
"""Stands for the signature of a call that another model made, or whose signature is lost.

https://ai.google.dev/gemini-api/docs/thought-signatures#faqs
"""

Part = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatures:
    """``call``: of the function call. ``texts``: of each piece of text before it, with its length in characters."""

    call: str = ""
    texts: tuple[tuple[int, str], ...] = ()


class Thoughts:
    """The signatures of what a reply has said since its last tool call."""

    __slots__ = ("_texts",)

    def __init__(self) -> None:
        self._texts: list[tuple[int, str]] = []

    def write(self, length: int, signature: str) -> None:
        """Text for the client. A signature belongs to its piece alone: pieces with and without one stay apart."""
        if self._texts and not signature and not self._texts[-1][1]:
            self._texts[-1] = (self._texts[-1][0] + length, "")
        else:
            self._texts.append((length, signature))

    def call_id(self, identifier: str, signature: str) -> str:
        """The id for the client of a tool call that follows; it takes the signatures along."""
        texts, self._texts = self._texts, []
        signed = texts if any(mark for _, mark in texts) else []
        if not signature and not signed:
            return identifier
        return carry(identifier, DIALECT, orjson.dumps([signature, signed]))


def signatures_of(call: Mapping[str, Any]) -> Signatures:
    """What a client's tool call has brought back: in its id, or where Google's own compatible endpoint puts it."""
    payload = carried(str(call.get("id")), DIALECT)
    if payload is None:
        return Signatures(call=_compatible(call.get("extra_content")))
    try:
        match orjson.loads(payload):
            case [str() as signature, list() as texts]:
                return Signatures(call=signature, texts=tuple((int(length), str(mark)) for length, mark in texts))
    except (orjson.JSONDecodeError, TypeError, ValueError):
        pass
    return Signatures()


def _compatible(extra: Any) -> str:
    """https://ai.google.dev/gemini-api/docs/thought-signatures#openai"""
    match extra:
        case {"google": {"thought_signature": str() as signature}}:
            return signature
    return ""


def signed_texts(parts: list[Part], signatures: Signatures) -> list[Part]:
    """The text of a turn, cut where the signed pieces of the reply began and ended; as it is where it is another."""
    whole = "".join(part["text"] for part in parts) if all("text" in part for part in parts) else ""
    if not signatures.texts or sum(length for length, _ in signatures.texts) > len(whole):
        return parts
    cut: list[Part] = []
    start = 0
    for length, signature in signatures.texts:
        piece: Part = {"text": whole[start : start + length]}
        cut.append({**piece, "thoughtSignature": signature} if signature else piece)
        start += length
    return [*cut, *([{"text": whole[start:]}] if whole[start:] else [])]
