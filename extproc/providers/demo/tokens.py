"""The demo model's tokens: one rule for prompts, answers and limits.

A token is a word, which is a run of letters, digits and underscores of an alphabet (characters below U+2000), or any
one other visible character: a punctuation mark, an ideograph, an emoji. White space belongs to the token after it.
Images, sounds and files count nothing, because they are not read.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

_WORD: Final = r"0-9A-Za-z_\x7f-\u1fff"
_TOKEN: Final = re.compile(rf"[\x00-\x20]*(?:[{_WORD}]+|[^\x00-\x20{_WORD}])|[\x00-\x20]+")
_WORDS: Final = re.compile(rf"[{_WORD}]+")

# Counting walks a whole prompt, which may be tens of megabytes, on the thread that serves every request. In UTF-8
# without its continuation bytes each character is one byte, and bytes are counted forty times faster than matches.
_CONTINUATION: Final = bytes(range(0x80, 0xC0))
_FIRST_MARK: Final = "\u2000".encode()[0]
_CLASSES: Final = bytes(
    ord(" ") if byte <= 0x20 else ord("w") if byte >= 0x7F or re.match(rf"[{_WORD}]", chr(byte)) else ord(".")
    for byte in range(_FIRST_MARK)
) + b"." * (0x100 - _FIRST_MARK)

DELTAS: Final = 256
"""The most parts a streamed answer is cut into: longer ones come in more than one token a part."""


def count_tokens(text: str) -> int:
    """How many tokens ``text`` is."""
    classes = text.encode().translate(_CLASSES, _CONTINUATION)
    word_starts = classes.startswith(b"w") + classes.count(b" w") + classes.count(b".w")
    return word_starts + classes.count(b".")


def first_tokens(text: str, limit: int) -> str:
    """``text`` up to the end of its token number ``limit``."""
    return "".join(match[0] for match in islice(_TOKEN.finditer(text), limit))


def deltas(text: str) -> list[str]:
    """``text`` as it is streamed: word by word. Joined they are ``text``; at most ``DELTAS`` of them."""
    parts = _TOKEN.findall(text)
    size = -(-len(parts) // DELTAS)
    return ["".join(parts[start : start + size]) for start in range(0, len(parts), size or 1)]


def words(text: str) -> list[str]:
    """The words of ``text``, without the marks between them, in lower case."""
    return _WORDS.findall(text.lower())
