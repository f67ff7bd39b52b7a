"""Envoy's messages as JSON, and extensions: a message in ``Any``, under the name of the extension that reads it.

betterproto2's own ``Any.pack`` and ``to_dict`` give the same JSON. They encode and parse every nesting level anew, and
read a class's type hints again for each of its messages: 90 ms of CPU per target, where this takes 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import timedelta
from enum import Enum
from typing import Any as AnyJson
from typing import Final

import betterproto2
from envoy_data_plane.envoy.config.core.v3 import TypedExtensionConfig
from envoy_data_plane.google.protobuf import Any, Struct
from envoy_data_plane.message_pool import default_message_pool

_TYPES: Final = "type.googleapis.com"


class Packed(Any):
    """An ``Any`` that keeps its content as JSON."""

    content: Mapping[str, AnyJson]


def packed(message: betterproto2.Message) -> Any:
    """The message with its type's name."""
    return _pack(default_message_pool.type_to_url[type(message)], to_json(message))


def extension(name: str, message: betterproto2.Message) -> TypedExtensionConfig:
    """An extension with its configuration."""
    return TypedExtensionConfig(name=name, typed_config=packed(message))


def foreign_extension(name: str, type_name: str, content: Mapping[str, AnyJson]) -> TypedExtensionConfig:
    """The same for a message that envoy-data-plane does not have yet: its full name and its JSON."""
    return TypedExtensionConfig(name=name, typed_config=_pack(f"{_TYPES}/{type_name}", content))


def to_json(message: betterproto2.Message) -> dict[str, AnyJson]:
    """The message in protobuf's JSON, with field names as Envoy's documentation has them. It has no fields of bytes.

    https://protobuf.dev/programming-guides/json/
    """
    if isinstance(message, Packed):
        return {"@type": message.type_url, **message.content}
    if isinstance(message, Struct):
        return message.to_dict()
    written: dict[str, AnyJson] = {}
    for field in fields(message):  # type: ignore[arg-type] # every generated message is a dataclass
        value = getattr(message, field.name)
        # A field at its default is absent, also on the wire; a wrapped or optional one has None for that.
        if field.default_factory is MISSING or value != field.default_factory():
            written[field.name.rstrip("_")] = _value(value)
    return written


def _pack(type_url: str, content: Mapping[str, AnyJson]) -> Packed:
    wrapped = Packed(type_url=type_url)
    wrapped.content = content
    return wrapped


def _value(value: object) -> object:
    match value:
        case betterproto2.Message():
            return to_json(value)
        case Enum():
            return value.name
        case timedelta():
            return f"{value / timedelta(seconds=1):.6f}".rstrip("0").rstrip(".") + "s"
        case list():
            return [_value(item) for item in value]
        case dict():
            return {key: _value(item) for key, item in value.items()}
        case _:
            return value
