"""pydantic's verdicts on plain values, in the operator's words: no jargon, and never a value that could be a secret."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from extproc.config.problems import Finding, Path, quoted, suggest
from extproc.config.scalars import SecretRef, format_duration, format_size, is_duration

AnyModel = TypeVar("AnyModel", bound=BaseModel)
Models: TypeAlias = list[type[BaseModel]]

_LONGEST_MESSAGE: Final = 300
_REFERENCE_FORM: Final = "a secret is {env: NAME} or {file: PATH}"

_SAYINGS: Final = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "string_too_short": "must not be empty",
    "too_short": "needs at least one entry",
    "json_invalid": "holds text that is not Unicode",
}
_BOUNDS: Final = {"greater_than_equal": ("at least", "ge"), "less_than_equal": ("at most", "le")}


def validate(model: type[AnyModel], value: object, path: Path) -> tuple[AnyModel | None, list[Finding]]:
    """A value of plain types as ``model``, or everything that is wrong with it; ``path`` leads to it in the file.

    JSON's strict mode: a list is a tuple, but ``"5"`` and ``true`` are no numbers, here as in the JSON Schema.
    """
    try:
        return model.model_validate_json(json.dumps(value), strict=True), []
    except ValidationError as refusal:
        details = refusal.errors(include_url=False)
    around = {detail["loc"][:length] for detail in details for length in range(len(detail["loc"]))}
    return None, [
        _finding(detail, model, value, path)
        for detail in details
        # A list whose items are wrong is also "too short": pydantic counts the right ones.
        if not (detail["type"] == "too_short" and detail["loc"] in around)
    ]


def _finding(detail: ErrorDetails, model: type[BaseModel], value: object, path: Path) -> Finding:
    match detail["type"], detail["loc"]:
        case "extra_forbidden", (*above, str(key)):
            return _unknown_key(key, _models_at(model, above), path + _way(value, above)[0])
        case "missing", (*above, str(key)):
            message = f"the key {quoted(key)} is missing"
            return Finding(path=path + _way(value, above)[0], message=message, entry=key)
        case kind, (*above, str(key), "[key]"):
            no_name = f'{quoted(key)} is no name: up to 63 letters, digits, ".", "_" or "-", no sign at either end'
            message = _saying(detail, key) if kind == "value_error" else no_name
            return Finding(path=path + _way(value, above)[0], message=message, entry=key)
        case _:
            way, given = _way(value, detail["loc"])
            message = _saying(detail, given)[:_LONGEST_MESSAGE]
            hint = _hint(detail["type"], _models_at(model, detail["loc"]), given)
            return Finding(path=path + way, message=message, hint=hint)


def _unknown_key(key: str, models: Models, path: Path) -> Finding:
    if SecretRef in models:
        # Not repeated: it may be the secret itself, as in apiKey: {sk-…}.
        return Finding(path=path, message="unknown key", hint=_REFERENCE_FORM, entry=key)
    hint = suggest(key, _keys(models), otherwise="the keys here are")
    return Finding(path=path, message=f"unknown key {quoted(key)}", hint=hint, entry=key)


def _saying(detail: ErrorDetails, given: object) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if given is None:
        return "has no value"
    if kind == "value_error":
        return str(context["error"])
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        return f"must be {words} {_as_written(given, context[limit])}"
    return _SAYINGS.get(kind) or detail["msg"].replace("Input should be", "must be")


def _as_written(given: object, limit: int) -> str:
    """A limit in the unit of what was given: durations are compared in milliseconds and sizes in bytes."""
    if not isinstance(given, str):
        return str(limit)
    return format_duration(limit) if is_duration(given) else format_size(limit)


def _hint(kind: str, models: Models, given: object) -> str | None:
    if given is None:
        return "give it one or leave the key out"
    if kind == "string_type" and not isinstance(given, list | dict):
        return "put it in quotes"
    if kind == "tuple_type":
        return "write [one, another], or each in a line of its own behind a dash"
    if kind == "model_type":
        return _REFERENCE_FORM if SecretRef in models else f"with the keys {', '.join(_keys(models))}"
    return None


def _keys(models: Models) -> list[str]:
    return [str(field.alias) for model in models for field in model.model_fields.values()]


def _models_at(model: type[BaseModel], place: Iterable[str | int]) -> Models:
    """The innermost models on the way to a place: list indices and names of entries lead no further in."""
    models: Models = [model]
    for step in place:
        fields = [field for model in models for field in model.model_fields.values() if field.alias == step]
        models = [part for field in fields for part in models_in(field.annotation)] or models
    return models


def models_in(annotation: object) -> Models:
    """The models that a field's type holds: alone, optional, as variants, or as the entries of a list or mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def _way(value: object, place: Iterable[str | int]) -> tuple[Path, object]:
    """The steps that exist in the file, and what they lead to: pydantic also names the variant of a union."""
    way: Path = ()
    for step in place:
        match value, step:
            case dict() as entries, str() if step in entries:
                value, way = entries[step], (*way, step)
            case list() as items, int():
                value, way = items[step], (*way, step)
    return way, value
