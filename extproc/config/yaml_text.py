"""YAML bytes → plain values that know their lines: one document, text keys, no tags, and bounded however it is nested.

Built on the parser's events and not on ``yaml.load``, which recurses in C without a limit (a hundred thousand ``[`` end
the process), takes the last of two equal keys in silence, and follows YAML 1.1, where ``no`` is false and ``1:30`` is
ninety. Plain scalars here follow YAML 1.2's core schema: https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml

from extproc.config.problems import ConfigError, Finding, Path, Problem, quoted

_LARGEST: Final = 16 << 20
_MOST_NODES: Final = 2_000_000
_DEEPEST: Final = 32

# PyYAML built without libyaml has only the slower parser; both give the same events.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTH: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,18}")
_DECIMAL: Final = re.compile(r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,2})?")

_REPAIRS: Final = {
    "mapping values are not allowed": 'text that holds ": " goes in quotes',
    "cannot start any token": "indent with spaces, not tabs, and put text that begins with @, % or ` in quotes",
    "expected ',' or": "text that holds { or } goes in quotes; a variable of the environment is written {env: NAME}",
    "unknown escape character": "in double quotes a backslash is written twice",
    "did not find expected key": "the keys of one mapping begin in the same column",
}

_Value: TypeAlias = yaml.ScalarEvent | yaml.CollectionStartEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A value with its place. ``size`` counts the nodes in it and ``depth`` its levels, with aliases written out."""

    line: int
    value: bool | int | float | str | list[Node] | dict[str, Entry] | None
    size: int = 1
    depth: int = 1
    damaged: bool = False
    """What the file says here could not be taken; the value is None."""

    def plain(self) -> object:
        """The value without lines: what a JSON parser would give."""
        match self.value:
            case dict() as entries:
                return {key: entry.node.plain() for key, entry in entries.items()}
            case list() as items:
                return [item.plain() for item in items]
            case scalar:
                return scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key of a mapping: the line of the key, and its value."""

    line: int
    node: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a file says, and what is wrong with how it says it."""

    root: Node
    findings: tuple[Finding, ...]
    """Equal keys, keys that are not text, tags, merges of what is no mapping."""

    def line(self, path: Path) -> int:
        """The line of an entry, or of the nearest one around it that exists."""
        return self._way(path)[-1][0]

    def damaged(self, path: Path) -> bool:
        """Whether an entry, or one around it, is null only because it could not be taken."""
        return any(node.damaged for _, node in self._way(path))

    def _way(self, path: Path) -> list[tuple[int, Node]]:
        """Each entry from the root towards ``path``, as far as they exist, with its line."""
        way = [(self.root.line, self.root)]
        for part in path:
            match way[-1][1].value, part:
                case dict() as entries, str() if part in entries:
                    way.append((entries[part].line, entries[part].node))
                case list() as items, int() if part < len(items):
                    way.append((items[part].line, items[part]))
                case _:
                    break
        return way


def read(text: bytes) -> Document:
    """One YAML document in UTF-8; an empty one is an empty mapping.

    Raises ConfigError when it cannot be read to its end: not UTF-8, no YAML, a second document, over 16 MiB, more than
    2,000,000 values with aliases written out, or nested deeper than 32.
    """
    composer = _Composer(_decode(text))
    try:
        root = composer.document()
    except yaml.MarkedYAMLError as error:
        # `from None`: the original error carries the whole file.
        raise _syntax_error(error) from None
    return Document(root=root, findings=tuple(composer.findings))


def _decode(text: bytes) -> str:
    if len(text) > _LARGEST:
        raise _refusal(1, f"the file is larger than {_LARGEST >> 20} MiB")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refusal(text.count(b"\n", 0, error.start) + 1, "the file is not UTF-8 text") from None
    unprintable = _UNPRINTABLE.search(decoded)
    if unprintable:
        line = decoded.count("\n", 0, unprintable.start()) + 1
        raise _refusal(line, f"the character U+{ord(unprintable[0]):04X} cannot stand in YAML")
    return decoded


def _refusal(line: int, message: str, hint: str | None = None) -> ConfigError:
    return ConfigError((Problem(path="", message=message, hint=hint, line=line),))


def _syntax_error(error: yaml.MarkedYAMLError) -> ConfigError:
    """The parser's sentences say what it was doing and what it met; they do not repeat the file's text."""
    met: Any = error.problem_mark  # declared optional, always there
    problem, begun = str(error.problem), error.context_mark
    hint = next((repair for symptom, repair in _REPAIRS.items() if symptom in problem), None)
    context = f" {error.context} that begins in line {begun.line + 1}" if begun and begun.line != met.line else ""
    return _refusal(met.line + 1, f"this is not YAML: {problem}{context} (column {met.column + 1})", hint)


class _Composer:
    """Events → nodes, by recursive descent that is bounded in depth and, aliases written out, in size."""

    def __init__(self, text: str) -> None:
        self.findings: list[Finding] = []
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._anchors: dict[str, Node] = {}
        self._size = 0

    def document(self) -> Node:
        """The root of the only document. Raises ConfigError and yaml.MarkedYAMLError."""
        empty = Node(line=1, value={})
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return empty
        root = self._node(next(self._events), (), 1)
        next(self._events)  # the document's end
        after = next(self._events)
        if isinstance(after, yaml.DocumentStartEvent):
            raise _refusal(_line(after), "a second YAML document begins here, but a file holds one")
        return empty if root.value is None and not root.damaged else root

    def _node(self, event: yaml.AliasEvent | _Value, path: Path, level: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            node = self._anchored(event)
            self._bound(event, more=node.size, level=level + node.depth - 1)
            return node
        self._bound(event, more=1, level=level)
        node = self._written(event, path, level)
        if event.tag is not None:
            # Not repeated: a secret may begin with an exclamation mark.
            self._find(event, path, "a tag (!…) has no meaning here", "leave it out, or put the text in quotes")
            node = Node(line=node.line, value=None, damaged=True)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _anchored(self, event: yaml.AliasEvent) -> Node:
        node = self._anchors.get(str(event.anchor))  # set when the anchor's value is complete: none holds itself
        if node is None:
            # Not repeated: a secret may begin with an asterisk.
            hint = "put text that begins with * in quotes"
            raise _refusal(_line(event), "an alias (*…) that no anchor (&…) above it defines", hint)
        return node

    def _written(self, event: _Value, path: Path, level: int) -> Node:
        line = _line(event)
        value: list[Node] | dict[str, Entry]
        match event:
            case yaml.ScalarEvent():
                return Node(line=line, value=event.value if event.style else _plain_scalar(event.value))
            case yaml.SequenceStartEvent():
                value = children = self._items(path, level + 1)
            case _:
                value = self._entries(path, level + 1)
                children = [entry.node for entry in value.values()]
        size = 1 + sum(child.size for child in children)
        depth = 1 + max((child.depth for child in children), default=0)
        return Node(line=line, value=value, size=size, depth=depth)

    def _items(self, path: Path, level: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items)), level))
        return items

    def _entries(self, path: Path, level: int) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        inherited: dict[str, Entry] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and not event.style:
                inherited |= self._merged(event, path, level)
                continue
            key = self._node(event, path, level).value
            if not isinstance(key, str):
                self._find(event, path, "a key that is not text", "put it in quotes")
                self._node(next(self._events), path, level)
                continue
            node = self._node(next(self._events), (*path, key), level)
            if key in entries:
                self._find(event, path, f"the key {quoted(key)} stands twice, first in line {entries[key].line}")
                continue
            entries[key] = Entry(line=_line(event), node=node)
        return inherited | entries

    def _merged(self, event: yaml.Event, path: Path, level: int) -> dict[str, Entry]:
        """The value of a merge key: a mapping, or a list of them of which earlier ones win.

        https://yaml.org/type/merge.html
        """
        node = self._node(next(self._events), path, level)
        merged: dict[str, Entry] = {}
        for source in node.value if isinstance(node.value, list) else [node]:
            if isinstance(source.value, dict):
                merged = source.value | merged
            else:
                self._find(event, path, "<< merges mappings, and this is none")
        return merged

    def _bound(self, event: yaml.Event, *, more: int, level: int) -> None:
        self._size += more
        if self._size > _MOST_NODES:
            raise _refusal(_line(event), f"the file holds more than {_MOST_NODES} values, with aliases written out")
        if level > _DEEPEST:
            raise _refusal(_line(event), f"the file is nested deeper than {_DEEPEST} levels")

    def _find(self, event: yaml.Event, path: Path, message: str, hint: str | None = None) -> None:
        self.findings.append(Finding(path=path, message=message, hint=hint, line=_line(event)))


def _line(event: yaml.Event) -> int:
    mark: Any = event.start_mark  # declared optional, always there
    return int(mark.line) + 1


def _plain_scalar(text: str) -> bool | float | str | None:
    if text in _NULL:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
