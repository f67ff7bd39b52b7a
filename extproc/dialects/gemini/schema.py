"""JSON Schemas as Gemini takes them, in ``parametersJsonSchema`` and ``responseJsonSchema``.

Both are JSON Schema itself, of which a part is understood, and are preferred here to ``parameters`` and
``responseSchema``, whose language is a smaller one of Google's own:
https://ai.google.dev/api/generate-content#FIELDS.response_json_schema
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

Schema = dict[str, Any]

_KEPT: Final = frozenset(
    {"type", "title", "description", "minItems", "maxItems", "minimum", "maximum", "required", "propertyOrdering"}
)
_VARIANTS: Final = frozenset({"anyOf", "oneOf"})
_DEFINITIONS: Final = frozenset({"$defs", "definitions"})
_FORMATS: Final = ("date-time", "date", "time")
# Without a say in what is valid, or read elsewhere.
_SILENT: Final = frozenset({"$schema", "$id", "$comment", "$anchor", "examples", "deprecated", "readOnly", "writeOnly"})
_DEEPEST: Final = 200


class NoSchema(ValueError):
    """This is no JSON Schema."""


def clean_schema(schema: Any) -> Schema:
    """What Gemini understands of a schema; what it does not is said in the description. Raises NoSchema."""
    return _clean(schema, 0)


def _clean(schema: Any, depth: int) -> Schema:
    if schema is True:
        return {}
    if not isinstance(schema, dict) or depth > _DEEPEST:
        raise NoSchema
    if isinstance(schema.get("$ref"), str):
        # "If $ref is set on a sub-schema, no other properties, except for those starting with $, may be set."
        return {"$ref": schema["$ref"].replace("#/definitions/", "#/$defs/"), **_definitions(schema, depth)}
    written: Schema = {}
    unsaid: Schema = {}
    for name, value in _without_all_of(schema).items():
        if name in _SILENT or name in _DEFINITIONS:
            continue
        said = _member(name, value, depth + 1)
        if said is None:
            unsaid[name] = value
        else:
            written.update(said)
    return _described({**written, **_definitions(schema, depth)}, unsaid)


def _member(name: str, value: Any, depth: int) -> Schema | None:
    """One keyword as Gemini has it; None for what it has not."""
    said: Schema | None = None
    match name:
        case _ if name in _KEPT or (name == "enum" and _is_enum(value)) or (name == "format" and value in _FORMATS):
            said = {name: value}
        case "const" if _is_enum([value]):
            said = {"enum": [value]}
        case "properties" if isinstance(value, dict):
            said = {name: {key: _clean(part, depth) for key, part in value.items()}}
        case "items" | "additionalProperties":
            said = {name: value if isinstance(value, bool) else _clean(value, depth)}
        case "anyOf" | "oneOf" | "prefixItems" if isinstance(value, list):
            # "oneOf is interpreted the same as anyOf".
            said = {"anyOf" if name in _VARIANTS else name: [_clean(part, depth) for part in value]}
    return said


def _definitions(schema: Mapping[str, Any], depth: int) -> Schema:
    found = {
        key: _clean(part, depth + 1)
        for name in sorted(_DEFINITIONS)
        if isinstance(schema.get(name), dict)
        for key, part in schema[name].items()
    }
    return {"$defs": found} if found else {}


def _without_all_of(schema: Mapping[str, Any]) -> Schema:
    """Parts that must all hold, as one: with all their properties, and all that they require."""
    parts = schema.get("allOf")
    if not isinstance(parts, list) or not all(isinstance(part, dict) and "$ref" not in part for part in parts):
        return dict(schema)
    merged: Schema = {}
    for part in (*parts, {name: value for name, value in schema.items() if name != "allOf"}):
        for name, value in part.items():
            before = merged.get(name)
            if name == "properties" and isinstance(before, dict) and isinstance(value, dict):
                merged[name] = {**before, **value}
            elif name == "required" and isinstance(before, list) and isinstance(value, list):
                merged[name] = [*before, *(item for item in value if item not in before)]
            else:
                merged[name] = value
    return merged


def _is_enum(values: Any) -> bool:
    """Strings and numbers are what an ``enum`` may hold."""
    return isinstance(values, list) and all(
        isinstance(value, str | int | float) and not isinstance(value, bool) for value in values
    )


def _described(written: Schema, unsaid: Schema) -> Schema:
    if not unsaid:
        return written
    try:
        limits = orjson.dumps(unsaid).decode()
    except (TypeError, orjson.JSONEncodeError) as error:
        raise NoSchema from error
    before = written.get("description")
    return {**written, "description": f"{before}\n\n{limits}" if before else limits}
