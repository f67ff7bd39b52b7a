"""JSON text read strictly, and edited in place: what is not changed keeps its bytes, its order and its spaces.

https://www.rfc-editor.org/rfc/rfc8259
"""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, NoReturn

import jiter

DEEPEST_NESTING: Final = 256
"""How many objects and arrays a client's value may stand in, the outermost object counted."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_BACKSLASH: Final = 0x5C
_COMMA: Final = 0x2C
_LONGEST_COMPLAINT: Final = 160

# The patterns below are possessive, so that they take time in proportion to the text and no memory. A repeated group
# must fail at its first byte, or where nothing after it can match: Python before 3.11.5, such as Debian 12's, goes on
# from where the failed repetition stopped, not from where it began (https://github.com/python/cpython/issues/106052).
_SPACE: Final = rb"[ \t\n\r]*+"
# A quote ends a string unless an odd number of backslashes stands before it. First the fast way, which searches for
# quotes and gives up at two backslashes or 65 escaped quotes; then the sure way, escape by escape.
_STRING: Final = (
    rb'"(?:[^"]*+(?:(?<=[^\\]\\)"[^"]*+){0,64}"(?<!\\")'
    rb'|[^"\\]*+(?:\\.[^"\\]*+)*+")'
)  # fmt: skip
_NEITHER: Final = rb'[^\[\]{}"]*+'
_DEPTH_IN_ONE_STEP: Final = 16


def _nested(depth: int) -> bytes:
    """A pattern for an object or array with up to ``depth`` levels; in valid text the brackets pair up by themselves.

    A level too many fails at its opening bracket, where no level's closing bracket can match either.
    """
    inner = _STRING if depth == 1 else rb"(?:" + _STRING + rb"|" + _nested(depth - 1) + rb")"
    return rb"[\[{]" + _NEITHER + rb"(?:" + inner + _NEITHER + rb")*+[\]}]"


_OPENING: Final = re.compile(_SPACE + rb"\{")
_CLOSING: Final = re.compile(_SPACE + rb"\}")
_SEPARATOR: Final = re.compile(_SPACE + rb"(?=[,}])")
# Key and value. Where the value is nested too deep for one step, there is no second group and the match ends before it.
_MEMBER: Final = re.compile(
    _SPACE + rb"(" + _STRING + rb")" + _SPACE + rb":" + _SPACE
    + rb"(?:(" + _STRING + rb"|" + _nested(_DEPTH_IN_ONE_STEP) + rb'|[^\[\]{}",: \t\n\r]++)' + _SPACE + rb"(?=[,}]))?",
    re.DOTALL,
)  # fmt: skip
_TO_BRACKET: Final = re.compile(_NEITHER + rb"(?:" + _STRING + _NEITHER + rb")*+[\[\]{}]", re.DOTALL)
# In text that may be wrong, a string without an end reaches to the end of the text.
_STRING_OR_REST: Final = re.compile(_STRING + rb'|".*+', re.DOTALL)
# So much text at once that taking its strings out needs little memory.
_WINDOW: Final = re.compile(rb'[^"]*+(?:(?:' + _STRING_OR_REST.pattern + rb')[^"]*+){0,10000}+', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_BRACKETS_AS_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # +1 and -1 as signed bytes

_PLACED_COMPLAINT: Final = re.compile(r"(.*) (at line \d+ column \d+)", re.DOTALL)
_HALF_PAIR: Final = "a \\u escape is half of a surrogate pair"
_PLAINER: Final = {
    "unexpected end of hex escape": _HALF_PAIR,
    "lone leading surrogate in hex escape": _HALF_PAIR,
    "expected ident": "expected true, false or null",
    "number out of range": "a number has too many digits",
}
_TYPE_NAMES: Final = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


class JsonTextError(ValueError):
    """What is wrong with a text, and where, as a clause for the client: ``duplicate key "n" at line 1 column 9``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Where a member of the outermost object stands, in bytes.

    ``start`` follows the object's brace or the comma before the member, ``end`` is at the comma or brace after it.
    """

    start: int
    value_start: int
    value_end: int
    end: int


def parse_object(text: bytes) -> dict[str, Any]:
    """A client's body. Strict: no duplicate keys, NaN, byte order mark, lone surrogates, nor anything after the object.

    Raises JsonTextError.
    """
    try:
        value = jiter.from_json(text, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError as error:
        value = _parse_refused(text, str(error))
    if not isinstance(value, dict):
        raise JsonTextError(f"the body must be a JSON object, not {_TYPE_NAMES.get(type(value), 'a number')}")
    return value


def depth_exceeds(text: bytes, limit: int) -> bool:
    """Whether a reader of this text, valid or not, would be inside more than ``limit`` objects and arrays at once."""
    if text.count(b"[") + text.count(b"{") <= limit:
        return False
    depth = 0
    for window in _WINDOW.finditer(text):
        steps = array("b", _STRING_OR_REST.sub(b"", window[0]).translate(_BRACKETS_AS_STEPS, _NO_BRACKETS))
        if depth + max(accumulate(steps), default=0) > limit:
            return True
        depth += sum(steps)
    return False


def top_level_members(text: bytes, wanted: Collection[str]) -> dict[str, Member]:
    """Find the ``wanted`` members of a valid text's outermost object, in the order of the text.

    It stops at the last one found. Of members with the same name it finds the first: readers differ in which they
    take, so let no such text come here.
    """
    found: dict[str, Member] = {}
    opening = _OPENING.match(text)
    if opening is None:
        raise JsonTextError("the text is not a JSON object")
    start = opening.end()
    missing = {b'"%s"' % name.encode(): name for name in wanted}
    if _CLOSING.match(text, start):
        return found
    while missing:
        match = _MEMBER.match(text, start)
        if match is None:
            raise JsonTextError(f"the text is not a JSON object after byte {start}")
        (_, end), (key_start, key_end), (value_start, value_end) = match.regs
        if value_end < 0:
            value_start = end
            value_end, end = _end_of_deep_value(text, value_start)
        key = text[key_start:key_end]
        name = missing.pop(key if _BACKSLASH not in key else _unescaped(key), None)
        if name is not None:
            found[name] = Member(start=start, value_start=value_start, value_end=value_end, end=end)
        if text[end] != _COMMA:
            break
        start = end + 1
    return found


def member(text: bytes, key: str) -> bytes | None:
    """The JSON text of one member's value in a valid text's outermost object, or None."""
    found = top_level_members(text, (key,)).get(key)
    return None if found is None else text[found.value_start : found.value_end]


def splice(text: bytes, changes: Mapping[str, bytes | None]) -> bytes:
    """Change members of a valid text's outermost object: a value (JSON text) replaces or is added last, None removes.

    All bytes outside the changed values stay. A removed member takes the spaces around it and one comma along.
    """
    members = top_level_members(text, changes.keys())
    view = memoryview(text)
    parts: list[bytes | memoryview] = []
    first = text.index(b"{") + 1  # where the first member that stays begins
    copied = 0
    for key, place in members.items():
        value = changes[key]
        if value is not None:
            parts += (view[copied : place.value_start], value)
            copied = place.value_end
        elif place.start == first:
            parts.append(view[copied:first])
            first = place.end + 1
            copied = first if text[place.end] == _COMMA else place.end
        else:
            parts.append(view[copied : place.start - 1])
            copied = place.end
    added = [
        json.dumps(key).encode() + b":" + value
        for key, value in changes.items()
        if value is not None and key not in members
    ]
    if added:
        closing = text.rindex(b"}")
        empty = first > closing or _CLOSING.match(text, first) is not None
        parts += (view[copied:closing], b"" if empty else b",", b",".join(added))
        copied = closing
    parts.append(view[copied:])
    return b"".join(parts)


def _unescaped(key: bytes) -> bytes:
    name: str = json.loads(key)
    return b'"%s"' % name.encode(errors="surrogatepass")


def _end_of_deep_value(text: bytes, start: int) -> tuple[int, int]:
    """Where the object or array at ``start`` ends, and where the comma or brace after it stands: bracket by bracket."""
    depth = 0
    end = start
    while match := _TO_BRACKET.match(text, end):
        end = match.end()
        depth += 1 if text[end - 1] in b"[{" else -1
        if depth == 0:
            break
    separator = _SEPARATOR.match(text, end)
    if separator is None or depth != 0 or end == start:
        raise JsonTextError(f"the text is not a JSON object after byte {start}")
    return end, separator.end()


def _parse_refused(text: bytes, complaint: str) -> object:
    """Say why jiter refused the text; or, if it is only deeper than jiter goes and not too deep, parse it after all."""
    if not text.strip():
        raise JsonTextError("the body is empty")
    if text.startswith(_BYTE_ORDER_MARK):
        raise JsonTextError("the body begins with a byte order mark, which JSON must not have")
    try:
        characters = text.decode()
    except UnicodeDecodeError as error:
        raise JsonTextError(f"not valid UTF-8 at byte {error.start}") from None
    if not complaint.startswith("recursion limit exceeded"):
        raise JsonTextError(_plain_complaint(complaint))
    if depth_exceeds(text, DEEPEST_NESTING):
        raise JsonTextError(f"nesting deeper than {DEEPEST_NESTING}")
    return _parse_deep(characters)


def _plain_complaint(complaint: str) -> str:
    placed = _PLACED_COMPLAINT.fullmatch(complaint)
    what, place = placed.groups() if placed else (complaint, "")
    what = what.replace("Detected duplicate key", "duplicate key", 1)
    what = _PLAINER.get(what, what)
    if len(what) > _LONGEST_COMPLAINT:
        what = what[:_LONGEST_COMPLAINT] + "…"
    return f"{what} {place}".rstrip()


def _parse_deep(text: str) -> object:
    """What jiter does, for nesting over its fixed limit of 200."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_integer)
        # Unlike jiter, json lets a lone surrogate pass; no UTF-8 can be made of it.
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise JsonTextError(f"{error.msg} at line {error.lineno} column {error.colno}") from None
    except UnicodeEncodeError:
        raise JsonTextError(_HALF_PAIR) from None
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise JsonTextError(_plain_complaint(f"duplicate key {json.dumps(counts.most_common(1)[0][0])}"))
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise JsonTextError(f"{name} is not JSON")


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise JsonTextError(_PLAINER["number out of range"]) from None
