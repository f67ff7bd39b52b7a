"""The tokenizers of bpe-openai and splintr behind one face: count a text, or stop counting at a limit.

Loading one takes from 10 ms to most of a second, and up to 60 MB, so it happens once in a process, when it is first
needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_loader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from bpe_openai import _bindings as bindings

_OPENAI: Final = frozenset({"o200k_base", "cl100k_base", "voyage3_base"})
_LONGEST_TOKENS: Final = {"glm4": 512, "kimi_k2": 256}
_LONGEST_TOKEN: Final = 128
_SLICE: Final = 2_048
# Where a token surely ends: between a word and the space before the next one.
_SEAM: Final = re.compile(r"(?<=[A-Za-z0-9,.;:])(?= [A-Za-z])")


class Vocabulary(Protocol):
    """``longest``: no token has more bytes. ``most``: characters that are counted in a few milliseconds."""

    longest: int
    most: int

    def count(self, text: str) -> int:
        """How many tokens ``text`` is; words that spell a control token are text."""

    def count_until(self, text: str, limit: int) -> int | None:
        """The same, or None as soon as it is known to be more than ``limit``."""


class _OpenAI:
    """bpe-openai's own binding, which counts without making a list, and in linear time whatever the text."""

    longest = _LONGEST_TOKEN
    most = 128 << 10

    def __init__(self, name: str) -> None:
        self._tokenizer = _openai_tokenizer(name)

    def count(self, text: str) -> int:
        counted: int = self._tokenizer.count(text)
        return counted

    def count_until(self, text: str, limit: int) -> int | None:
        return None if limit < 0 else self._tokenizer.count_till_limit(text, limit)


class _Splintr:
    """splintr makes lists of tokens; a long text is cut where tokens end, so that counting can stop."""

    def __init__(self, name: str) -> None:
        import splintr

        self._tokenizer: Any = splintr.Tokenizer.from_pretrained(name)
        self.longest = _LONGEST_TOKENS.get(name, _LONGEST_TOKEN)
        # SentencePiece is ten times slower than the byte-level ones.
        self.most = (64 if self._tokenizer.family == "BPE" else 32) << 10

    def count(self, text: str) -> int:
        return sum(map(self._count, _slices(text)))

    def count_until(self, text: str, limit: int) -> int | None:
        counted = 0
        for piece in _slices(text):
            counted += self._count(piece)
            if counted > limit:
                return None
        return counted if counted <= limit else None

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode_ordinary(text))


@cache
def _openai_tokenizer(name: str) -> bindings.PyTokenizer:
    """From the binding without the package around it, whose Python copies of the vocabularies take a second and 60 MB.

    Raises ModuleNotFoundError.
    """
    package = find_spec("bpe_openai")
    folders = [] if package is None else package.submodule_search_locations or []
    files = [Path(folder, f"_bindings{suffix}") for folder in folders for suffix in EXTENSION_SUFFIXES]
    file = next((str(file) for file in files if file.is_file()), None)
    if file is None:
        raise ModuleNotFoundError("bpe_openai._bindings")
    loader = ExtensionFileLoader("bpe_openai._bindings", file)
    spec = spec_from_loader(loader.name, loader)
    module: Any = module_from_spec(spec) if spec else None
    loader.exec_module(module)
    tokenizer: bindings.PyTokenizer = module.tokenizer_for_encoding(name)
    return tokenizer


def _slices(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > 2 * _SLICE:
        seam = _SEAM.search(text, start + _SLICE, start + 2 * _SLICE)
        end = start + 2 * _SLICE if seam is None else seam.start()
        yield text[start:end]
        start = end
    yield text[start:]


@cache
def vocabulary(name: str) -> Vocabulary:
    """A vocabulary by its name, loaded at the first call."""
    return _OpenAI(name) if name in _OPENAI else _Splintr(name)
