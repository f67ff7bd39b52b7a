"""Which JSON Schemas Cohere can hold an answer to: https://docs.cohere.com/docs/structured-outputs#schema-constraints"""

from __future__ import annotations

from typing import Any, Final

# Not known there, and refused: ranges, lengths and conditions.
_UNKNOWN: Final = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
        *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "patternProperties"),
        *("not", "if", "then", "else", "oneOf", "allOf"),
    }
)


def is_guaranteed(schema: Any) -> bool:
    """An object at the root, a required key in every object, and no word that is unknown."""
    return isinstance(schema, dict) and schema.get("type") == "object" and _known(schema)


def _known(part: Any) -> bool:
    if isinstance(part, list):
        return all(_known(item) for item in part)
    if not isinstance(part, dict):
        return True
    if _UNKNOWN & part.keys() or (part.get("type") == "object" and not part.get("required")):
        return False
    for name, value in part.items():
        # Under these stand names of the client's, not words of the language.
        inner = (
            value.values() if name in {"properties", "$defs", "definitions"} and isinstance(value, dict) else (value,)
        )
        if name not in {"enum", "const", "default", "examples"} and not all(_known(item) for item in inner):
            return False
    return True
