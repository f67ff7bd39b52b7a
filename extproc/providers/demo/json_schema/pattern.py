"""A text that a regular expression matches, as JSON Schema's ``pattern`` asks for one.

Written from the expression and never matched against it: matching a stranger's expression can take for ever.
Literals, escapes, classes, groups, alternatives (the first) and quantifiers are written; anchors and lookarounds are
stepped over. Back references and named character properties are refused.
https://json-schema.org/draft/2020-12/json-schema-validation#name-pattern
"""

from __future__ import annotations

import re
from typing import Final

_LONGEST: Final = 1_000
"""Characters of a text."""
_LONGEST_PATTERN: Final = 500
_DEEPEST: Final = 32
_Ranges = tuple[tuple[str, str], ...]
"""A class of characters: the first and the last of each of its ranges."""
_CLASSES: Final[dict[str, _Ranges]] = {
    "d": (("0", "9"),),
    "w": (("a", "z"), ("A", "Z"), ("0", "9"), ("_", "_")),
    "s": ((" ", " "),),
    "D": (("a", "z"), (" ", "/"), (":", "`"), ("{", "~")),
    "W": (("-", "-"), (" ", "/"), (":", "@"), ("[", "^"), ("`", "`"), ("{", "~")),
    "S": (("a", "z"), ("!", "`"), ("{", "~")),
}
_CONTROLS: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_ALPHABET: Final = "a1-A _.,:/+*#@!?()[]{}<>=&%$;'\"~^|`\\bcdefghijklmnopqrstuvwxyz023456789BCDEFGHIJKLMNOPQRSTUVWXYZ"
_GROUP: Final = re.compile(r"\?(?:(?P<skip><?[=!])|:|P?<\w{1,80}>)")
_QUANTIFIER: Final = re.compile(r"(?:(?P<sign>[*+?])|\{(?P<low>\d{1,6})(?P<comma>,(?P<high>\d{1,6})?)?\})[?+]?")
_CODE: Final = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})")


class PatternNotWritable(ValueError):
    """The expression is broken, uses what this file does not know, or needs too long a text."""


def write_pattern(pattern: str, repeat: int) -> str:
    """A text for ``pattern`` in which what may be repeated is there ``repeat`` times, where its quantifier allows.

    Raises PatternNotWritable.
    """
    if len(pattern) > _LONGEST_PATTERN:
        raise PatternNotWritable(f"the pattern is longer than {_LONGEST_PATTERN} characters")
    writer = _Writer(pattern, repeat)
    text = writer.alternatives(0)
    if writer.at < len(pattern):
        raise PatternNotWritable(f"unbalanced parenthesis at {writer.at}")
    return text


class _Writer:
    """A recursive descent through one expression; ``at`` is the next character."""

    def __init__(self, pattern: str, repeat: int) -> None:
        self.at = 0
        self._pattern = pattern
        self._repeat = repeat

    def alternatives(self, depth: int) -> str:
        if depth > _DEEPEST:
            raise PatternNotWritable("groups are nested too deep")
        first = self._sequence(depth)
        while self._peek() == "|":
            self.at += 1
            self._sequence(depth)
        return first

    def _sequence(self, depth: int) -> str:
        parts: list[str] = []
        length = 0
        while self._peek() not in ("", "|", ")"):
            part = self._atom(depth)
            count = self._count()
            length += len(part) * count
            if length > _LONGEST:
                raise PatternNotWritable(f"the text would be longer than {_LONGEST} characters")
            parts.append(part * count)
        return "".join(parts)

    def _atom(self, depth: int) -> str:
        character = self._next()
        if character in "^$":
            return ""
        if character == "(":
            return self._group(depth)
        if character == "[":
            return self._class()
        if character == "\\":
            return self._escape()
        if character in "*+?":
            raise PatternNotWritable(f"nothing to repeat at {self.at - 1}")
        return "a" if character == "." else character

    def _group(self, depth: int) -> str:
        skip = False
        if self._peek() == "?":
            kind = _GROUP.match(self._pattern, self.at)
            if kind is None:
                raise PatternNotWritable(f"unknown kind of group at {self.at}")
            skip = kind["skip"] is not None
            self.at = kind.end()
        text = self.alternatives(depth + 1)
        self._next()  # the closing parenthesis: nothing else ends alternatives before the pattern does
        return "" if skip else text

    def _escape(self) -> str:
        character = self._next()
        if character in "bB":
            return ""
        if character in _CLASSES:
            return _member(_CLASSES[character], negated=False)
        return self._escaped(character)

    def _escaped(self, character: str) -> str:
        if character in _CONTROLS:
            return _CONTROLS[character]
        code = _CODE.match(self._pattern, self.at - 1)
        if code is not None:
            self.at = code.end()
            return _visible(int(code[1] or code[2], 16))
        if character.isalnum():
            raise PatternNotWritable(f"unknown escape \\{character}")
        return character

    def _class(self) -> str:
        negated = self._peek() == "^"
        self.at += negated
        members: _Ranges = ()
        while (character := self._next()) != "]":
            members += self._ranges(character)
        return _member(members, negated=negated)

    def _ranges(self, character: str) -> _Ranges:
        if character == "\\":
            escaped = self._next()
            if escaped in _CLASSES:
                return _CLASSES[escaped]
            character = "\b" if escaped == "b" else self._escaped(escaped)
        high = character
        if self._peek() == "-" and self._pattern[self.at + 1 : self.at + 2] not in ("]", ""):
            self.at += 1
            high = self._next()
            high = self._escaped(self._next()) if high == "\\" else high
        return ((character, high),)

    def _count(self) -> int:
        quantifier = _QUANTIFIER.match(self._pattern, self.at)
        if quantifier is None:
            return 1
        self.at = quantifier.end()
        if quantifier["sign"]:
            low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[quantifier["sign"]]
        else:
            low = int(quantifier["low"])
            high = int(quantifier["high"]) if quantifier["high"] else None if quantifier["comma"] else low
        count = max(low, self._repeat)
        return count if high is None else min(count, high)

    def _peek(self) -> str:
        return self._pattern[self.at : self.at + 1]

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise PatternNotWritable("the pattern ends too early")
        self.at += 1
        return character


def _member(ranges: _Ranges, *, negated: bool) -> str:
    if not negated and ranges:
        return ranges[0][0]
    for character in _ALPHABET:
        if negated and not any(low <= character <= high for low, high in ranges):
            return character
    raise PatternNotWritable("a class without members")


def _visible(code: int) -> str:
    if 0xD800 <= code <= 0xDFFF:
        raise PatternNotWritable("half of a surrogate pair")
    return chr(code)
