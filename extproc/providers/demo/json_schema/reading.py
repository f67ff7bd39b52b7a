"""Reading one JSON Schema: references resolved, ``allOf`` laid together, its types found out.

https://json-schema.org/draft/2020-12/json-schema-core
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

Schema = dict[str, Any]

_REFERENCE_UNIT: Final = 16
_LONGEST_INDEX: Final = 10
_QUOTED: Final = 80


class NoValue(ValueError):
    """The schema has no value that could be written: it contradicts itself, never ends, or is too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """A type's ``name`` in JSON Schema, and whether a value ``holds`` it."""

    name: str
    holds: Callable[[object], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatSchema:
    """``fields`` without ``$ref`` and ``allOf``; ``references`` are all that were followed on the way here."""

    fields: Schema
    references: frozenset[str]


_TYPES: Final = {
    kind.name: kind
    for kind in (
        Type(name="string", holds=lambda value: isinstance(value, str)),
        Type(name="integer", holds=lambda value: isinstance(value, int) and not isinstance(value, bool)),
        Type(name="number", holds=lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
        Type(name="boolean", holds=lambda value: isinstance(value, bool)),
        Type(name="object", holds=lambda value: isinstance(value, dict)),
        Type(name="array", holds=lambda value: isinstance(value, list)),
        Type(name="null", holds=lambda value: value is None),
    )
}
_TYPE_OF_KEYWORD: Final = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minimum": "number",
    "maximum": "number",
    "multipleOf": "number",
}


def flatten(
    schema: object, root: Mapping[str, Any], references: frozenset[str], spend: Callable[[int], None]
) -> FlatSchema:
    """``schema`` with what it refers to and its ``allOf`` laid over it; ``properties`` and ``required`` are united.

    ``references`` are being followed already: coming back to one of them would never end. ``spend`` is told how much
    was read, and may raise NoValue as this does.
    """
    fields: Schema = {}
    followed: set[str] = set()
    pending = [schema]
    for part in pending:
        if part is False:
            raise NoValue("nothing is allowed here")
        spend(1)
        if not isinstance(part, dict):
            continue
        spend(len(part) + sum(len(member) for member in part.values() if isinstance(member, list | dict)))
        _lay_over(fields, part)
        pending.extend(list_of(part, "allOf"))
        reference = part.get("$ref")
        if isinstance(reference, str) and reference not in followed:
            if reference in references:
                raise NoValue(f"'{reference[:_QUOTED]}' leads back to itself")
            spend(len(reference) // _REFERENCE_UNIT)
            followed.add(reference)
            pending.append(_resolve(reference, root))
    return FlatSchema(fields=fields, references=references | followed)


def types_of(fields: Schema, otherwise: str) -> list[Type]:
    """The types that ``fields`` allow, null last; where they name none, what keywords mean, else ``otherwise``."""
    given = fields.get("type")
    names = given if isinstance(given, list) else [given]
    known = (name for name in names if isinstance(name, str) and name in _TYPES)
    types = [_TYPES[name] for name in dict.fromkeys(known)]
    if not types:
        inferred = (name for keyword, name in _TYPE_OF_KEYWORD.items() if keyword in fields)
        types = [_TYPES[next(inferred, otherwise)]]
    return sorted(types, key=lambda kind: kind.name == "null")


def list_of(fields: Mapping[str, Any], name: str) -> list[Any]:
    """The list ``name``; empty where it is none."""
    value = fields.get(name)
    return value if isinstance(value, list) else []


def count_of(fields: Mapping[str, Any], name: str, otherwise: int) -> int:
    """The count ``name``, 0 or more; ``otherwise`` where it is none."""
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise


def _lay_over(fields: Schema, part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        if name == "properties" and isinstance(value, dict):
            properties = fields.setdefault("properties", {})
            for key, schema in value.items():
                properties[key] = {"allOf": [properties[key], schema]} if key in properties else schema
        elif name == "required":
            fields.setdefault("required", []).extend(key for key in list_of(part, name) if isinstance(key, str))
        elif name not in ("$ref", "allOf", "properties"):
            fields[name] = value


def _resolve(reference: str, root: Mapping[str, Any]) -> object:
    if not reference.startswith("#"):
        raise NoValue(f"'{reference[:_QUOTED]}' is not part of the schema")
    target: Any = root
    for step in unquote(reference[1:]).split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(target, list) and len(key) < _LONGEST_INDEX and key.isdecimal() and int(key) < len(target):
            target = target[int(key)]
        elif isinstance(target, dict) and key in target:
            target = target[key]
        else:
            raise NoValue(f"'{reference[:_QUOTED]}' points to nothing")
    return target
