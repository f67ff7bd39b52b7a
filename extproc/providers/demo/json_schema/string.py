"""A string for a JSON Schema of type ``string``.

https://json-schema.org/draft/2020-12/json-schema-validation#name-validation-keywords-for-str
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.providers.demo.json_schema.offered import Offered
from extproc.providers.demo.json_schema.pattern import PatternNotWritable, write_pattern
from extproc.providers.demo.json_schema.reading import count_of

_LONGEST: Final = 10_000
_MOST_TRIES: Final = 16

_FORMATS: Final = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T12:00:00Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "hostname": "example.com",
    "idn-email": "someone@example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "iri": "https://example.com/",
    "json-pointer": "/example",
    "regex": "^example$",
    "time": "12:00:00Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def write_string(schema: Mapping[str, Any], name: str, offered: Offered, ordinal: int) -> str | None:
    """A string for the property ``name``; None when the lengths asked for cannot be.

    In this order: a sample of its ``format``, a text for its ``pattern``, what the user's text offers, the schema's
    first example, the text itself. A pattern that cannot be written within the lengths is passed over. ``ordinal``
    counts the strings of one array, so that they differ.
    """
    shortest, longest = count_of(schema, "minLength", 0), count_of(schema, "maxLength", _LONGEST)
    if shortest > min(longest, _LONGEST):
        return None
    sample = _FORMATS.get(str(schema.get("format")))
    if sample is not None:
        return sample
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        written = _written(pattern, shortest, longest, 1 + ordinal)
        if written is not None:
            return written
    text = offered.phrase(name) or _example(schema) or offered.whole or "demo"
    if ordinal:
        text = f"{ordinal + 1} {text}"
    if len(text) < shortest:
        text = (f"{text} " * shortest)[: shortest - 1] + "."
    return text[:longest]


def _written(pattern: str, shortest: int, longest: int, often: int) -> str | None:
    for repeat in dict.fromkeys((often, 0, shortest, *range(2, min(shortest, _MOST_TRIES)))):
        try:
            text = write_pattern(pattern, repeat)
        except PatternNotWritable:
            continue
        if shortest <= len(text) <= longest:
            return text
    return None


def _example(schema: Mapping[str, Any]) -> str | None:
    examples = schema.get("examples")
    first = examples[0] if isinstance(examples, list) and examples else schema.get("example")
    return first if isinstance(first, str) else None
