"""JSON text: what a client's body may be, and editing a text without touching the rest of it."""

from __future__ import annotations

import json
import re
import tracemalloc
from typing import Any

import pytest

from extproc.openai.json_text import (
    DEEPEST_NESTING,
    JsonTextError,
    depth_exceeds,
    member,
    parse_object,
    splice,
    top_level_members,
)


def _nested_arrays(depth: int, inside: bytes = b"") -> bytes:
    """An object ``depth`` levels deep, with arrays in it."""
    return b'{"a":' + b"[" * (depth - 1) + inside + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param(b"{}", {}, id="empty-object"),
        pytest.param(
            b' \t\r\n{ "a" : [ 1 , -2.5e3 , true , null , "" ] } \n', {"a": [1, -2500, True, None, ""]}, id="all"
        ),
        pytest.param(b'{"\\u006dodel": "\\ud83d\\ude00\\n"}', {"model": "😀\n"}, id="escapes"),
        pytest.param('{"é": "€"}'.encode(), {"é": "€"}, id="utf-8"),
        pytest.param(
            b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}, id="large-integer"
        ),
        pytest.param(b'{"a": {"b": 1}, "b": 2}', {"a": {"b": 1}, "b": 2}, id="same-name-inside"),
    ],
)
def test_parse_object_gives_the_values_when_the_text_is_json(text: bytes, value: dict[str, Any]) -> None:
    """The values, and strings without their escapes."""
    assert parse_object(text) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(b"", "the body is empty", id="empty"),
        pytest.param(b" \n", "the body is empty", id="spaces"),
        pytest.param(b"[{}]", "the body must be a JSON object, not an array", id="array"),
        pytest.param(b'"{}"', "the body must be a JSON object, not a string", id="string"),
        pytest.param(b"12", "the body must be a JSON object, not a number", id="number"),
        pytest.param(b"1.5", "the body must be a JSON object, not a number", id="fraction"),
        pytest.param(b"true", "the body must be a JSON object, not a boolean", id="boolean"),
        pytest.param(b"null", "the body must be a JSON object, not null", id="null"),
        pytest.param(
            b"\xef\xbb\xbf{}", "the body begins with a byte order mark, which JSON must not have", id="byte-order-mark"
        ),
        pytest.param(b'{"a": "\xff"}', "not valid UTF-8 at byte 7", id="not-utf-8"),
        pytest.param(b'{"a": "\xed\xa0\x80"}', "not valid UTF-8 at byte 7", id="surrogate-as-utf-8"),
        pytest.param('{"a": 1}'.encode("utf-16-le"), "key must be a string at line 1 column 2", id="utf-16"),
        pytest.param(
            b'{"a": "\\ud800"}', "a \\u escape is half of a surrogate pair at line 1 column 14", id="high-half"
        ),
        pytest.param(
            b'{"a": "\\udc00 "}', "a \\u escape is half of a surrogate pair at line 1 column 13", id="low-half"
        ),
        pytest.param(
            b'{"\\ud800 ": 1}', "a \\u escape is half of a surrogate pair at line 1 column 9", id="half-in-a-key"
        ),
        pytest.param(b'{"a": 1, "a": 2}', 'duplicate key "a" at line 1 column 14', id="duplicate"),
        pytest.param(
            b'{"model":1, "mod\\u0065l":2}', 'duplicate key "model" at line 1 column 26', id="duplicate-escaped"
        ),
        pytest.param(b'{"a":\n [{"b":1, "b":2}]}', 'duplicate key "b" at line 2 column 15', id="duplicate-inside"),
        pytest.param(b'{"a": NaN}', "expected value at line 1 column 7", id="nan"),
        pytest.param(b'{"a": -Infinity}', "invalid number at line 1 column 8", id="infinity"),
        pytest.param(b'{"a": 01}', "invalid number at line 1 column 8", id="leading-zero"),
        pytest.param(
            b'{"a": ' + b"1" * 5_000 + b"}", "a number has too many digits at line 1 column 4308", id="digits"
        ),
        pytest.param(b'{"a": trye}', "expected true, false or null at line 1 column 9", id="misspelt"),
        pytest.param(b'{"a": 1,}', "trailing comma at line 1 column 9", id="trailing-comma"),
        pytest.param(b"{'a': 1}", "key must be a string at line 1 column 2", id="single-quotes"),
        pytest.param(b'{"a": 1', "EOF while parsing an object at line 1 column 7", id="cut-off"),
        pytest.param(b"{} {}", "trailing characters at line 1 column 4", id="two"),
        pytest.param(b"{}\x00", "trailing characters at line 1 column 3", id="nul-after"),
        pytest.param(_nested_arrays(DEEPEST_NESTING + 1), "nesting deeper than 256", id="deep"),
        pytest.param(b"[" * 1_000_000, "nesting deeper than 256", id="very-deep"),
        pytest.param(b'{"a":' * 300 + b"\xff", "not valid UTF-8 at byte 1500", id="deep-and-not-utf-8"),
    ],
)
def test_parse_object_says_what_is_wrong_when_the_text_is_refused(text: bytes, said: str) -> None:
    """What, and where, in words for the client."""
    with pytest.raises(JsonTextError, match=f"^{re.escape(said)}$"):
        parse_object(text)


def test_parse_object_shortens_the_complaint_when_the_key_is_long() -> None:
    """A client's megabyte does not come back in an error."""
    for deep in (b"1", b"[" * 220 + b"]" * 220):
        key = b'"' + b"k" * 1_000_000 + b'":'
        with pytest.raises(JsonTextError, match=r'^duplicate key "k{140,150}…( at line 1 column \d+)?$'):
            parse_object(b"{" + key + deep + b"," + key + deep + b"}")


@pytest.mark.parametrize("depth", [200, 201, 202, DEEPEST_NESTING])
def test_parse_object_gives_the_values_when_the_text_is_deep_but_not_too_deep(depth: int) -> None:
    """The parser's own limit is lower than ours and must not show."""
    text = _nested_arrays(depth - 2, b'{"b": [1, 2.5, "\\ud83d\\ude00"]}')
    assert parse_object(text) == json.loads(text)


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        pytest.param(b'{"b": 1, "c": 0, "b": 2}', 'duplicate key "b"', id="duplicate"),
        pytest.param(b'{"\\ud800": 1, "\\ud800": 2}', 'duplicate key "\\ud800"', id="duplicate-half-pair"),
        pytest.param(b"NaN", "NaN is not JSON", id="nan"),
        pytest.param(b"-Infinity", "-Infinity is not JSON", id="infinity"),
        pytest.param(b'"\\ud800"', "a \\u escape is half of a surrogate pair", id="half-pair"),
        pytest.param(b"1" * 5_000, "a number has too many digits", id="digits"),
        pytest.param(b"1,]", "Expecting value at line 1 column 227", id="trailing-comma"),
    ],
)
def test_parse_object_is_as_strict_when_the_text_is_deep(inside: bytes, said: str) -> None:
    """What the first parser refuses, the one behind it refuses as well."""
    with pytest.raises(JsonTextError, match=f"^{re.escape(said)}$"):
        parse_object(_nested_arrays(220, inside))


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        pytest.param(b"", 0, id="empty"),
        pytest.param(b"1", 0, id="scalar"),
        pytest.param(b"[]", 1, id="array"),
        pytest.param(b'{"a": [{}, [[]]], "b": {}}', 4, id="mixed"),
        pytest.param(b'["[[[[", "]]]]", {"{{": "}}"}]', 2, id="brackets-in-strings"),
        pytest.param(rb'["\"[[", "\\", [1], "\\\"[", "\\\\"]', 2, id="escapes"),
        pytest.param(rb'["\\\\\"[[[", "a\\"]', 1, id="many-backslashes"),
        pytest.param(b'["a", "[[[', 1, id="string-without-an-end"),
        pytest.param(b'["a", "[[[\\"', 1, id="string-that-ends-in-an-escape"),
        pytest.param(b'["a", "[[[\\', 1, id="string-that-ends-in-a-backslash"),
        pytest.param(b"[[[", 3, id="cut-off"),
        pytest.param(b"]]]][[", 0, id="closed-before-opened"),
        pytest.param(b'["[",' * 25_000, 25_000, id="more-strings-than-one-window"),
    ],
)
def test_depth_exceeds_only_when_more_levels_are_open_than_the_limit(text: bytes, depth: int) -> None:
    """Brackets in strings do not count; in a wrong text, no more than a reader would have met."""
    assert not depth_exceeds(text, depth)
    assert depth == 0 or depth_exceeds(text, depth - 1)


_TEXTS = [
    pytest.param(b'{"model":"m"}', {"model": b'"m"'}, id="only"),
    pytest.param(b' {\n "a" : 1 ,\t"model"\r:\n"m" }\n', {"model": b'"m"', "a": b"1"}, id="spaces"),
    pytest.param(b'{"a":{"model":0},"b":[{"model":1}],"model":2}', {"model": b"2"}, id="same-name-inside"),
    pytest.param(b'{"a":"\\"model\\":1,","model":2}', {"model": b"2"}, id="same-name-in-a-string"),
    pytest.param(
        b'{"a":"{[\\"","b":"\\\\","model":"]}\\\\\\""}', {"model": b'"]}\\\\\\""', "b": b'"\\\\"'}, id="quotes"
    ),
    pytest.param(b'{"mod\\u0065l":1}', {"model": b"1"}, id="escaped-key"),
    pytest.param(b'{"\\ud800":0,"a\\"b":1}', {'a"b': b"1"}, id="other-escaped-keys"),
    pytest.param(b'{"":1}', {"": b"1"}, id="empty-key"),
    pytest.param('{"é":"€"}'.encode(), {"é": '"€"'.encode()}, id="utf-8"),
    pytest.param(
        b'{"a":-1.50E+3,"b":true,"c":null,"d":[],"e":{},"f":""}',
        {"a": b"-1.50E+3", "b": b"true", "c": b"null", "d": b"[]", "e": b"{}", "f": b'""'},
        id="every-type",
    ),
    pytest.param(b"{}", {}, id="empty"),
    pytest.param(b" { } ", {}, id="empty-with-space"),
    pytest.param(
        b'{"deep": ' + _nested_arrays(40, b'"]", {}') + b' , "model" : 1}',
        {"model": b"1", "deep": _nested_arrays(40, b'"]", {}')},
        id="deep",
    ),
    pytest.param(b'{"deep":' + _nested_arrays(256) + b"}", {"deep": _nested_arrays(256)}, id="deepest"),
]


@pytest.mark.parametrize(("text", "values"), _TEXTS)
def test_member_gives_the_value_as_written_when_it_is_there(text: bytes, values: dict[str, bytes]) -> None:
    """The exact bytes of the value; None for a member that is not there, or only further inside."""
    for key, value in values.items():
        assert member(text, key) == value
    assert member(text, "absent") is None
    places = top_level_members(text, [*values, "absent"])
    assert {key: text[place.value_start : place.value_end] for key, place in places.items()} == values
    for place in places.values():
        assert text[place.start - 1 : place.start] in (b"{", b",")
        assert text[place.end : place.end + 1] in (b"}", b",")


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        pytest.param(b'{"a": 1.0}', {}, b'{"a": 1.0}', id="nothing"),
        pytest.param(b'{"a": 1, "b":2}', {"a": b'"x"'}, b'{"a": "x", "b":2}', id="replace"),
        pytest.param(b'{"a": 1, "b":2 }', {"b": b"[]", "a": b"{}"}, b'{"a": {}, "b":[] }', id="replace-two"),
        pytest.param(b'{"\\u0061":1}', {"a": b"2"}, b'{"\\u0061":2}', id="replace-escaped-key"),
        pytest.param(b"{}", {"a": b"1"}, b'{"a":1}', id="add-to-nothing"),
        pytest.param(b" { } ", {"a": b"1", "b": b"2"}, b' { "a":1,"b":2} ', id="add-two-to-nothing"),
        pytest.param(b'{"a":"}"}\n', {"b": b"1"}, b'{"a":"}","b":1}\n', id="add"),
        pytest.param(b'{"a":1}', {'"\n': b"2"}, b'{"a":1,"\\"\\n":2}', id="add-key-that-needs-escapes"),
        pytest.param(b'{"a":1,"b":2}', {"c": b"3", "a": b"0"}, b'{"a":0,"b":2,"c":3}', id="replace-and-add"),
        pytest.param(b'{ "a": 1, "b": 2}', {"a": None}, b'{ "b": 2}', id="remove-first"),
        pytest.param(b'{"a": 1 , "b": 2, "c": 3}', {"b": None}, b'{"a": 1 , "c": 3}', id="remove-middle"),
        pytest.param(b'{"a": 1, "b": 2 }', {"b": None}, b'{"a": 1}', id="remove-last"),
        pytest.param(b' { "a": 1 } ', {"a": None}, b" {} ", id="remove-only"),
        pytest.param(b'{"a": 1}', {"b": None}, b'{"a": 1}', id="remove-absent"),
        pytest.param(b"{}", {"b": None}, b"{}", id="remove-from-nothing"),
        pytest.param(b'{"a":1,"b":2,"c":3}', {"a": None, "b": None}, b'{"c":3}', id="remove-first-two"),
        pytest.param(b'{"a":1,"b":2,"c":3}', {"b": None, "c": None}, b'{"a":1}', id="remove-last-two"),
        pytest.param(b'{"a":1,"b":2,"c":3}', {"a": None, "c": None}, b'{"b":2}', id="remove-both-ends"),
        pytest.param(b'{"a":1,"b":2}', {"a": None, "b": None}, b"{}", id="remove-all"),
        pytest.param(b'{"a":1,"b":2}', {"a": None, "b": None, "c": b"3"}, b'{"c":3}', id="remove-all-and-add"),
        pytest.param(b'{"a":1,"b":2}', {"a": None, "b": b"0"}, b'{"b":0}', id="remove-and-replace"),
        pytest.param(b'{"a":1,"b":2}', {"a": b"0", "b": None, "c": b"3"}, b'{"a":0,"c":3}', id="all-three"),
        pytest.param(b'{"a":1,"a":2}', {"a": b"0"}, b'{"a":0,"a":2}', id="same-name-twice"),
        pytest.param(b'{"a":1,"a":2}', {"a": None, "b": b"3"}, b'{"a":2,"b":3}', id="same-name-twice-removed"),
    ],
)
def test_splice_changes_only_what_is_named_when_given_changes(
    text: bytes, changes: dict[str, bytes | None], expected: bytes
) -> None:
    """Replaced, added last or removed; all other bytes stay."""
    assert splice(text, changes) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="array"),
        pytest.param(b"{1:2}", id="not-a-key"),
        pytest.param(b'{"b" 1}', id="no-colon"),
        pytest.param(b'{"b":1', id="cut-off"),
        pytest.param(b'{"b":}', id="no-value"),
        pytest.param(b'{"b":[1}', id="no-end-of-array"),
        pytest.param(b'{"b":]', id="closed-before-opened"),
        pytest.param(b'{"b":' + b"[" * 40 + b"]" * 39 + b"}", id="deep-without-end"),
        pytest.param(b'{"b":' + b"[" * 40 + b"]" * 40, id="deep-and-cut-off"),
        pytest.param(b'{"b":"x', id="no-end-of-string"),
    ],
)
def test_members_are_refused_when_the_text_is_no_object(text: bytes) -> None:
    """Not a promise to find every error, but none of these may hang or end in anything else."""
    with pytest.raises(JsonTextError, match="not a JSON object"):
        top_level_members(text, ("a",))


_LONG_STRING = 5_000_000
_HARD_TEXTS = [
    pytest.param(b'{"x":"' + b"A" * _LONG_STRING + b'","a":1}', id="long-string"),
    pytest.param(b'{"x":"' + b'\\"' * (_LONG_STRING // 2) + b'","a":1}', id="escaped-quotes"),
    pytest.param(b'{"x":"' + b"\\\\" * (_LONG_STRING // 2) + b'","a":1}', id="backslashes"),
    pytest.param(b'{"x":"' + b'\\\\\\"' * (_LONG_STRING // 4) + b'","a":1}', id="both"),
    pytest.param(b'{"x":[' + b'"",' * 500_000 + b'""],"a":1}', id="many-strings"),
    pytest.param(b'{"x":[' + b"[]," * 500_000 + b'[]],"a":1}', id="many-arrays"),
    pytest.param(b'{"x":' + _nested_arrays(40, b"[]," * 50_000 + b"[]") + b',"a":1}', id="many-arrays-deep-inside"),
    pytest.param(b'{"x":' + b" " * _LONG_STRING + b'0,"a":1}', id="spaces"),
    pytest.param(b"{" + b'"x":0,' * 50_000 + b'"a":1}', id="many-members"),
]


@pytest.mark.parametrize("text", _HARD_TEXTS)
def test_members_are_found_in_little_time_and_memory_when_the_text_is_hard(text: bytes) -> None:
    """No backtracking, no recursion, no copies: finding a member takes no memory, whatever stands before it."""
    tracemalloc.start()
    try:
        found = top_level_members(text, ("a",))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert text[found["a"].value_start :] == b"1}"
    assert peak < 100_000


@pytest.mark.parametrize("text", _HARD_TEXTS)
def test_depth_is_found_in_little_time_and_memory_when_the_text_is_hard(text: bytes) -> None:
    """At most a copy or two of the text, however many strings it is made of."""
    tracemalloc.start()
    try:
        exceeds = depth_exceeds(b"[" * 300 + text, 300)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert exceeds
    assert peak < 4 * len(text) + (4 << 20)


@pytest.mark.parametrize("text", _HARD_TEXTS)
def test_unfinished_text_is_refused_in_little_time_when_it_is_hard(text: bytes) -> None:
    """A text cut anywhere costs no more than a whole one."""
    with pytest.raises(JsonTextError):
        top_level_members(text[: len(text) // 2], ("a",))
    assert not depth_exceeds(b"[" * 300 + text[: len(text) // 2], 400)
