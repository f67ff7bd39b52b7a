"""Chunks of a stream that differ in their text alone, passed on without reading the rest of their JSON.

A model's stream is hundreds of chunks in which everything but the text stands where it stood in the chunk before. Each
comes alone, to a process that has slept since the last, so that every line of code it needs comes from main memory: to
compare bytes takes a fraction of what it takes to parse them.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

_TEXT: Final = b'"content":"'
_FILLERS: Final = (b'"obfuscation":"', b'"p":"')
"""Members of random text that hide how long a token is.

https://platform.openai.com/docs/api-reference/chat/create#chat_create-stream_options-include_obfuscation
"""
_MARK: Final = "\N{OBJECT REPLACEMENT CHARACTER}"


class _Cut(NamedTuple):
    """An event around its text, and around the filler where it has one."""

    before: bytes
    between: bytes
    after: bytes


class Alike:
    """What surrounds the text in the provider's events, and in the client's."""

    __slots__ = ("_after", "_before", "_between", "_ends", "_least", "_ours", "_starts")

    def __init__(self, theirs: _Cut, ours: _Cut) -> None:
        self._before, self._between, self._after = theirs
        self._least = len(self._before) + len(self._after)
        # With the string's quotes.
        self._starts, self._ends = len(self._before) - 1, 1 - len(self._after)
        self._ours = None if ours == theirs else ours

    def read(self, piece: bytes) -> tuple[str, bytes] | None:
        """The text of an event like the one it was made of, and the client's event; None of any other bytes."""
        if len(piece) < self._least or not (piece.startswith(self._before) and piece.endswith(self._after)):
            return None
        written = piece[self._starts : self._ends]
        try:
            if self._between:
                return self._read_filled(piece, written)
            text = orjson.loads(written)
        except orjson.JSONDecodeError:
            return None
        ours = self._ours
        return text, piece if ours is None else ours.before + written[1:-1] + ours.after

    def _read_filled(self, piece: bytes, written: bytes) -> tuple[str, bytes]:
        """Raises JSONDecodeError where the text or the filler is not one string."""
        text, _, filler = written.partition(self._between)
        said = orjson.loads(text + b'"')
        orjson.loads(b'"' + filler)
        ours = self._ours
        return said, piece if ours is None else ours.before + text[1:] + ours.between + filler[:-1] + ours.after


def alike(theirs: bytes, fields: dict[str, Any], ours: bytes) -> Alike | None:
    """What the next events will have in common with this one; None where its text does not stand by itself.

    ``theirs`` is the provider's event with its framing, ``fields`` what it says: one choice, of which nothing is new
    but a text. ``ours`` is the same for the client.
    """
    cut, own = _cut(theirs), _cut(ours)
    if cut is None or own is None or bool(cut.between) != bool(own.between):
        return None
    between = cut.between and cut.between + _MARK.encode()
    try:
        marked = orjson.loads(b"".join([cut.before, _MARK.encode(), between, cut.after]).removeprefix(b"data:"))
    except orjson.JSONDecodeError:
        return None  # it has other lines, too
    (choice,) = fields["choices"]
    expected = {**fields, "choices": [{**choice, "delta": {"content": _MARK}}]}
    fillers = {name: _MARK for name in ("obfuscation", "p") if between and marked.get(name) == _MARK}
    return Alike(cut, own) if marked == expected | fillers else None


def _cut(event: bytes) -> _Cut | None:
    before, found, rest = event.partition(_TEXT)
    if not found or _TEXT in rest:
        return None
    text, _, rest = rest.partition(b'"')
    if b"\\" in text:
        return None
    before, rest = before + found, b'"' + rest
    for name in _FILLERS:
        between, found, after = rest.partition(name)
        if found and name not in after and name not in before:
            filler, _, after = after.partition(b'"')
            return None if b"\\" in filler else _Cut(before, between + found, b'"' + after)
    return _Cut(before, b"", rest)
