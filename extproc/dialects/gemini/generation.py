"""The knobs → ``generationConfig``: https://ai.google.dev/api/generate-content#v1beta.GenerationConfig"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from extproc.dialects.gemini.models import Model
from extproc.dialects.gemini.reasoning import encode_reasoning
from extproc.dialects.gemini.schema import NoSchema, clean_schema
from extproc.errors import InvalidRequest

Json = dict[str, Any]

_NUMBERS: Final = {
    "temperature": "temperature",
    "top_p": "topP",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}
_COUNTS: Final = {"n": "candidateCount", "top_logprobs": "logprobs"}
_AT_REST: Final = {"candidateCount": 1, "frequencyPenalty": 0, "presencePenalty": 0}
"""Not every model knows these knobs, and nothing is lost without them."""
_LARGEST_SEED: Final = (1 << 31) - 1
_JSON_TYPE: Final = "application/json"
_JSON_ONLY: Final = "Answer with one valid JSON object and nothing else: no prose before or after it, no code fence."
_BY_SCHEMA: Final = "It must be valid by this JSON Schema:\n{}"


def encode_generation(
    fields: Mapping[str, Any], model: Model, dropped: set[str], *, with_tools: bool
) -> tuple[Json, str | None]:
    """The config, and an instruction for what it cannot say. Raises InvalidRequest."""
    limit = _limit(fields)
    output, instruction = _output(fields.get("response_format"), promised=model.tools_and_format or not with_tools)
    if instruction not in {None, _JSON_ONLY}:
        dropped.add("response_format.json_schema")
    parts: Json = {
        "maxOutputTokens": limit,
        **{own: _number(fields, name) for name, own in _NUMBERS.items()},
        **{own: _count(fields, name) for name, own in _COUNTS.items()},
        "responseLogprobs": True if fields.get("logprobs") is True else None,
        "seed": _seed(fields, dropped),
        "stopSequences": _stop(fields.get("stop")),
        "thinkingConfig": encode_reasoning(fields, model, limit, dropped),
        **output,
    }
    asked = {name: value for name, value in parts.items() if value is not None and value != _AT_REST.get(name)}
    return asked, instruction


def _output(wanted: Any, *, promised: bool) -> tuple[Json, str | None]:
    """The format of the answer; an instruction where the model gives no promise of it beside tools."""
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in ("json_object", "json_schema"):
        return {}, None
    given = wanted.get("json_schema") if kind == "json_schema" else None
    schema = given.get("schema") if isinstance(given, dict) else None
    place = "response_format.json_schema.schema"
    try:
        cleaned = None if schema is None else clean_schema(schema)
    except NoSchema:
        raise InvalidRequest(f"Invalid value for '{place}': this is no JSON Schema.", param=place) from None
    if promised:
        return {"responseMimeType": _JSON_TYPE, "responseJsonSchema": cleaned}, None
    if schema is None:
        return {}, _JSON_ONLY
    return {}, f"{_JSON_ONLY} {_BY_SCHEMA.format(orjson.dumps(cleaned).decode())}"


def _limit(fields: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = _count(fields, name)
        if value is not None:
            if value < 1:
                raise InvalidRequest(f"Invalid value for '{name}': expected a positive integer.", param=name)
            return value
    return None


def _count(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise InvalidRequest(f"Invalid value for '{name}': expected a positive integer.", param=name)
    return value


def _number(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidRequest(f"Invalid type for '{name}': expected a number.", param=name)
    return value


def _seed(fields: Mapping[str, Any], dropped: set[str]) -> int | None:
    """The provider's have 32 bits."""
    value = fields.get("seed")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidRequest("Invalid type for 'seed': expected an integer.", param="seed")
    if abs(value) > _LARGEST_SEED:
        dropped.add("seed")
        return None
    return value


def _stop(stop: Any) -> list[str] | None:
    given = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise InvalidRequest("Invalid type for 'stop': expected a string or an array of strings.", param="stop")
    return [text for text in given if text] or None
