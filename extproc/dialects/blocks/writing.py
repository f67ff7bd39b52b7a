"""What both dialects write beside the turns: stop sequences, what output must look like, and the JSON text itself."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from extproc.dialects.blocks.schema import Inexpressible, Schema, guaranteed_schema
from extproc.errors import InvalidRequest

JSON_ONLY: Final = "Answer with one valid JSON object and nothing else: no prose before or after it, no code fence."
_BY_SCHEMA: Final = "It must be valid by this JSON Schema:\n{}"


def output_schema(wanted: Any, *, structured: bool) -> tuple[Schema | None, str | None]:
    """The schema of guaranteed output, or else an instruction, for ``response_format``.

    No provider has a guarantee for "any JSON", nor for every schema; ``structured``: the model has one at all.
    """
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_object":
        return None, JSON_ONLY
    if kind != "json_schema":
        return None, None
    given = wanted.get("json_schema")
    schema = given.get("schema") if isinstance(given, dict) else None
    if schema is None:
        return None, JSON_ONLY
    try:
        if not structured:
            raise Inexpressible  # noqa: TRY301 - one way out for the model's and the schema's limits
        return guaranteed_schema(schema), None
    except Inexpressible:
        return None, f"{JSON_ONLY} {_BY_SCHEMA.format(json_bytes(schema).decode())}"


def stop_sequences(stop: Any, dropped: set[str]) -> list[str] | None:
    """The providers refuse sequences of white space alone. Raises InvalidRequest."""
    given = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise InvalidRequest("Invalid type for 'stop': expected a string or an array of strings.", param="stop")
    kept = [text for text in given if text.strip()]
    if len(kept) < len(given):
        dropped.add("stop")
    return kept or None


def json_bytes(value: Any) -> bytes:
    """Compact JSON, also of integers of more than 64 bits, as a tool call's arguments may hold."""
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def parse_message(body: bytes, mark: bytes) -> Any:
    """A reply's JSON value; None for what is none. ``mark`` stands in every reply that calls a tool.

    orjson makes a float of an integer with more than 64 bits, and only a tool's input may hold one.
    """
    try:
        return json.loads(body) if mark in body else orjson.loads(body)
    except ValueError:
        return None
