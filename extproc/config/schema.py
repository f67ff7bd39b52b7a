"""The models → JSON Schema of kortex.yaml (draft 2020-12), for editors and for checks without Kortex."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import cleandoc
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from extproc.config.backends import Backend
from extproc.config.gateway import DEFAULT_RETRIES, DEFAULT_TIMEOUTS, Config, Gateway
from extproc.config.validation import models_in


class _Untitled(GenerateJsonSchema):
    """Without pydantic's titles, which only repeat the keys in other letters."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


def json_schema(settings: Mapping[str, type[Backend]]) -> dict[str, Any]:
    """The schema of a whole file; ``settings`` are the providers' own models by provider name.

    It refuses what ``load`` refuses in a single entry. That entries fit together, only ``load`` can tell.
    """
    roots: list[type[BaseModel]] = [Config, *settings.values()]
    models = list(dict.fromkeys(model for root in roots for model in _with_parts(root)))
    mode: JsonSchemaMode = "validation"
    places, whole = models_json_schema([(model, mode) for model in models], schema_generator=_Untitled)
    names = {model: places[model, mode]["$ref"].rpartition("/")[2] for model in models}
    definitions: dict[str, Any] = whole["$defs"]
    for model, name in names.items():
        _complete(definitions[name], model)
    variants = [_variant(provider, definitions.pop(names[model])) for provider, model in settings.items()]
    del definitions[names[Backend]]
    root = definitions.pop(names[Config])
    del root["properties"]["gateway"]["default"]  # its keys have theirs
    for section in ("backends", "routes"):
        _name_entries(root["properties"][section])
    root["properties"]["backends"]["additionalProperties"] = {
        "type": "object",
        "required": ["provider"],
        "discriminator": {"propertyName": "provider"},
        "oneOf": variants,
    }
    return {"$schema": _Untitled.schema_dialect, **root, "title": "kortex.yaml", "$defs": definitions}


def written_defaults(model: type[BaseModel]) -> dict[str, Any]:
    """The defaults of a model's keys, as they would be written in the file; keys without one are left out."""
    defaults = model.model_construct().model_dump(mode="json", by_alias=True, exclude_none=True)
    if model is Gateway:
        for key, values in (("retries", DEFAULT_RETRIES), ("timeouts", DEFAULT_TIMEOUTS)):
            defaults[key] = values.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: value for key, value in defaults.items() if value not in ({}, [])}


def meaning(model: type[BaseModel], name: str) -> str:
    """What a field's docstring says, or that of the model it overrides; in Markdown. Empty when none says anything."""
    for owner in model.__mro__:
        fields: Mapping[str, Any] = getattr(owner, "__pydantic_fields__", {})
        if name in fields and fields[name].description:
            return _markdown(fields[name].description)
    return ""


def _markdown(docstring: str | None) -> str:
    return cleandoc(docstring or "").replace("``", "`")


def _with_parts(model: type[BaseModel]) -> Iterable[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for part in models_in(field.annotation):
            yield from _with_parts(part)


def _complete(definition: dict[str, Any], model: type[BaseModel]) -> None:
    """What pydantic does not know: defaults as they are written, and docstrings of overridden fields."""
    definition["description"] = _markdown(model.__doc__)
    defaults = written_defaults(model)
    for name, field in model.model_fields.items():
        entry = definition["properties"][str(field.alias)]
        entry.pop("default", None)
        if field.alias in defaults:
            entry["default"] = defaults[field.alias]
        if text := meaning(model, name):
            entry["description"] = text


def _variant(provider: str, definition: dict[str, Any]) -> dict[str, Any]:
    definition["properties"]["provider"] = {"const": provider}
    return definition | {"title": provider}


def _name_entries(section: dict[str, Any]) -> None:
    """``patternProperties`` alone lets any key through that does not match."""
    ((pattern, entry),) = section.pop("patternProperties").items()
    section["propertyNames"] = {"pattern": pattern}
    section["additionalProperties"] = entry
