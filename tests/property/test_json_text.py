"""JSON text: edits change what they name and nothing else; no text at all ends in an unnamed error."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from extproc.openai.json_text import (
    DEEPEST_NESTING,
    JsonTextError,
    depth_exceeds,
    member,
    parse_object,
    splice,
    top_level_members,
)

# Strings and keys rich in what could be mistaken for structure.
_STRINGS = st.text(st.sampled_from('"\\{}[],:a é\n😀') | st.characters(exclude_categories=["Cs"]), max_size=8)
_KEYS = st.sampled_from(["a", "b", "model", "", "é", '"', "\\", "a\\", "{", "}"]) | _STRINGS
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _STRINGS
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=12,
)
_OBJECTS = st.dictionaries(_KEYS, _VALUES, max_size=5)


def _wrapped(value: object, levels: int) -> object:
    for level in range(levels):
        value = {"model": value} if level % 2 else [value, "]"]
    return value


_DEEP_OBJECTS = st.builds(
    lambda object_, key, levels: {**object_, key: _wrapped(object_, levels)}, _OBJECTS, _KEYS, st.integers(10, 30)
)


@st.composite
def _texts(draw: st.DrawFn) -> bytes:
    """A valid text with an object at its root, written in one of the many ways JSON can be."""
    value = draw(_OBJECTS | _DEEP_OBJECTS)
    space = draw(st.sampled_from(["", " ", "\n", "\r\n\t "]))
    text = json.dumps(
        value,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 0, 2, "\t"])),
        separators=(space + "," + space, space + ":" + space),
    )
    return (space + text + space).encode()


@given(text=_texts(), key=_KEYS)
def test_members_stand_where_they_do_when_read_by_another_parser(text: bytes, key: str) -> None:
    """Every span of every member, against the standard library's reading."""
    value = json.loads(text)
    places = top_level_members(text, {*value, key})
    assert {name: json.loads(text[place.value_start : place.value_end]) for name, place in places.items()} == value
    assert list(places) == list(value)
    found = member(text, key)
    assert (found is not None) == (key in value)
    # Between them, the places hold the whole object.
    rebuilt = b",".join(text[place.start : place.end] for place in places.values())
    assert not places or text.strip() == b"{" + rebuilt + b"}"


@given(text=_texts(), changes=st.dictionaries(_KEYS, st.none() | _VALUES.map(lambda value: (value,)), max_size=4))
def test_splice_gives_the_changed_object_when_read_by_another_parser(
    text: bytes, changes: dict[str, tuple[Any] | None]
) -> None:
    """A one-tuple is a new value, None removes."""
    expected = json.loads(text)
    for key, value in changes.items():
        if value is None:
            expected.pop(key, None)
        else:
            expected[key] = value[0]
    edits = {key: None if value is None else json.dumps(value[0]).encode() for key, value in changes.items()}
    spliced = json.loads(splice(text, edits))
    assert spliced == expected
    assert list(spliced) == list(expected)


@given(text=_texts(), data=st.data())
def test_splice_keeps_every_other_byte_when_values_are_replaced(text: bytes, data: st.DataObject) -> None:
    """Putting the old values back gives the old text, byte for byte."""
    names = [name for name in json.loads(text) if data.draw(st.booleans(), label=name)]
    old: dict[str, bytes | None] = {name: member(text, name) for name in names}
    changed = splice(text, dict.fromkeys(names, b'{"new": [",}"]}'))
    assert splice(changed, old) == text
    assert len(changed) == len(text) + sum(len(b'{"new": [",}"]}') - len(value or b"") for value in old.values())


@given(text=_texts())
def test_parse_object_agrees_when_read_by_another_parser(text: bytes) -> None:
    """The values of a valid text are the standard library's."""
    assert parse_object(text) == json.loads(text)


@given(text=st.binary() | st.text(st.sampled_from('{}[]",:\\ \nau0d8-1.eE'), max_size=40).map(str.encode))
@example(text=b'{"\\ud800":1,"\\ud800":2}')
def test_parse_object_raises_only_its_own_error_when_given_anything(text: bytes) -> None:
    """Arbitrary bytes, and soups of JSON's own characters."""
    with suppress(JsonTextError):
        parse_object(text)


@given(inside=st.binary(max_size=20) | st.text(st.sampled_from('{}[]",:\\ \nau0d8-1.eE'), max_size=20).map(str.encode))
def test_parse_object_raises_only_its_own_error_when_given_anything_deep(inside: bytes) -> None:
    """The same where the first parser gives up and the second takes over."""
    with suppress(JsonTextError):
        parse_object(b'{"a":' + b"[" * 210 + inside + b"]" * 210 + b"}")


@given(text=st.text(st.sampled_from('{}[]",:\\ \na0'), max_size=40).map(str.encode))
def test_edits_raise_only_their_own_error_when_the_text_is_not_json(text: bytes) -> None:
    """The promise is for valid texts; a broken one must not hang or escape all the same."""
    with suppress(JsonTextError, json.JSONDecodeError):
        splice(text, {"a": b"1", "b": None})


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


@given(text=_texts())
def test_depth_is_exact_when_the_text_is_valid(text: bytes) -> None:
    """It exceeds every limit below its depth and none from there on."""
    depth = _depth(json.loads(text))
    assert depth_exceeds(text, depth - 1)
    assert not depth_exceeds(text, depth)
    assert not depth_exceeds(text, DEEPEST_NESTING)
