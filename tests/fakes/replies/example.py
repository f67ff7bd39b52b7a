"""A value that fits a JSON Schema: the arguments of tool calls and structured answers."""

from __future__ import annotations

from tests.fakes.steps import Json

_PLAIN: Json = {"integer": 7, "number": 1.5, "boolean": True, "null": None}


def example_of(schema: Json, text: str) -> object:
    """The plainest value for ``schema``; strings are ``text``. Knows what tools and structured answers usually ask."""
    return _value(schema, schema.get("$defs", {}), text)


def _value(schema: Json, definitions: Json, text: str) -> object:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in schema:
        return _value(schema["anyOf"][0], definitions, text)
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return [_value(schema.get("items", {"type": "string"}), definitions, text)]
    if kind == "object":
        properties: Json = schema.get("properties", {})
        return {name: _value(part, definitions, text) for name, part in properties.items()}
    return {**_PLAIN, "string": text}[kind]
