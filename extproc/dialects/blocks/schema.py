"""JSON Schemas as Anthropic takes them: for tools nearly all of the language, for guaranteed output a part of it.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

Schema = dict[str, Any]

_KEPT: Final = ("type", "enum", "const", "$ref", "pattern", "default", "title", "description")
_VARIANTS: Final = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
_DEFINITIONS: Final = ("$defs", "definitions")
_LIMITED: Final[Mapping[str, tuple[Any, ...]]] = {
    "format": ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"),
    "minItems": (0, 1),
}
# Read elsewhere, or without a say in what is valid.
_SILENT: Final = frozenset({"$schema", "$id", "$comment", "additionalProperties", "examples"})


class Inexpressible(Exception):
    """The provider cannot guarantee output of this schema."""


def tool_schema(parameters: Any) -> Schema:
    """A tool's ``input_schema``: an object at the root, without variants there, which the provider refuses.

    Variants at the root become one object that has all their properties; required is what all of them require.
    Raises TypeError or ValueError for what is no JSON Schema.
    """
    schema: Schema = dict(parameters) if isinstance(parameters, dict) else {}
    variants = [
        variant
        for name in _VARIANTS
        for variant in schema.pop(name, None) or ()
        if isinstance(variant, dict) and isinstance(variant.get("properties"), dict)
    ]
    properties = dict(schema.get("properties") or {})
    for variant in variants:
        properties = {**variant["properties"], **properties}
    required = list(schema.get("required") or ())
    if variants:
        shared = set.intersection(*(set(variant.get("required") or ()) for variant in variants))
        required += [name for name in properties if name in shared and name not in required]
    rest = {name: value for name, value in schema.items() if name not in {"type", "properties", "required"}}
    return {"type": "object", "properties": properties, **({"required": required} if required else {}), **rest}


def guaranteed_schema(schema: Any) -> Schema:
    """A schema for output that is guaranteed. What cannot be is said in the description, as Anthropic's own clients do.

    Raises Inexpressible for objects with keys of any name, and for schemas that contain themselves.
    """
    if not isinstance(schema, dict):
        raise Inexpressible
    written = _guaranteed(schema)
    if _contains_itself(written):
        raise Inexpressible
    return written


def _guaranteed(schema: Any) -> Schema:
    if not isinstance(schema, dict):
        raise Inexpressible
    written: Schema = {name: schema[name] for name in _KEPT if name in schema}
    unsaid: Schema = {}
    for name, value in schema.items():
        if name in _KEPT or name in _SILENT:
            continue
        if name in _DEFINITIONS and isinstance(value, dict):
            written[name] = {key: _guaranteed(part) for key, part in value.items()}
        elif name in _VARIANTS and isinstance(value, list):
            written[_VARIANTS[name]] = [_guaranteed(part) for part in value]
        elif name == "items":
            written["items"] = _guaranteed(value)
        elif name == "properties" and isinstance(value, dict):
            written["properties"] = {key: _guaranteed(part) for key, part in value.items()}
        elif name == "required" or (name in _LIMITED and value in _LIMITED[name]):
            written[name] = value
        else:
            unsaid[name] = value
    if _is_object(schema):
        _close(written, schema)
    if unsaid:
        limits = orjson.dumps(unsaid).decode()
        before = written.get("description")
        written["description"] = f"{before}\n\n{limits}" if before else limits
    return written


def _is_object(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema


def _close(written: Schema, schema: Mapping[str, Any]) -> None:
    others = schema.get("additionalProperties")
    if others not in (None, False) or not (schema.get("properties") or others is False):
        raise Inexpressible
    written["additionalProperties"] = False


def _contains_itself(schema: Schema) -> bool:
    definitions = {
        f"#/{group}/{name}": part for group in _DEFINITIONS for name, part in (schema.get(group) or {}).items()
    }
    if "#" in _references(schema):
        return True
    reached = {name: _references(part) for name, part in definitions.items()}
    for _ in definitions:
        reached = {
            name: names | {far for near in names for far in reached.get(near, ())} for name, names in reached.items()
        }
    return any(name in names for name, names in reached.items())


def _references(part: Any) -> set[str]:
    if isinstance(part, list):
        return {name for item in part for name in _references(item)}
    if not isinstance(part, dict):
        return set()
    own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
    return own.union(*(_references(value) for value in part.values()))
