"""The small types of kortex.yaml: durations, sizes, addresses, and where a secret is to be read from."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)")
_MILLISECONDS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_SIZE: Final = re.compile(r"([0-9]{1,15})\s*(B|KiB|MiB|GiB)?")
_BYTES: Final = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_ADDRESS: Final = re.compile(r"(?P<host>[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EVERY_INTERFACE: Final = "0.0.0.0"  # noqa: S104 - what an address without a host means
_HIGHEST_PORT: Final = 65_535


class Model(BaseModel):
    """The base of every config model: immutable, camelCase in the file, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, use_attribute_docstrings=True)


def refuse_password(*, found: bool) -> None:
    """What is said of a URL that has one, and that is never repeated. Raises ValueError."""
    if found:
        msg = "a password is never written here: use password: {env: NAME} or {file: PATH} beside the url"
        raise ValueError(msg)


def parse_duration(value: object) -> object:
    """``10s``, ``250ms``, ``1.5m``, ``1h`` → whole milliseconds. Raises ValueError for anything else."""
    if not isinstance(value, str):
        msg = "a duration is a number with a unit, such as 500ms, 10s, 5m or 1h"
        raise ValueError(msg)  # noqa: TRY004 - pydantic reports ValueError as a validation error
    found = _DURATION.fullmatch(value.strip())
    if found is None:
        msg = f"{value!r} is not a duration: write a number with a unit, such as 500ms, 10s, 5m or 1h"
        raise ValueError(msg)
    return round(float(found[1]) * _MILLISECONDS[found[2]])


def format_duration(milliseconds: int) -> str:
    """The shortest exact way to write a duration in kortex.yaml."""
    for unit in ("h", "m", "s"):
        if milliseconds and milliseconds % _MILLISECONDS[unit] == 0:
            return f"{milliseconds // _MILLISECONDS[unit]}{unit}"
    return f"{milliseconds}ms"


def is_duration(text: str) -> bool:
    """Whether ``parse_duration`` takes it."""
    return _DURATION.fullmatch(text.strip()) is not None


def parse_size(value: object) -> object:
    """``32MiB``, ``512KiB``, ``1048576`` → bytes. Raises ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        msg = f"{value!r} is not a size: write bytes, or a number with KiB, MiB or GiB, such as 32MiB"
        raise ValueError(msg)
    return int(found[1]) * _BYTES[found[2]]


def format_size(size: int) -> str:
    """The shortest exact way to write a size in kortex.yaml."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


def parse_address(value: object) -> object:
    """``127.0.0.1:8080``, ``[::1]:8080`` or ``:8080`` (every interface). Port 0 takes a free one. Raises ValueError."""
    text = f"{_EVERY_INTERFACE}{value}" if isinstance(value, str) and value.startswith(":") else value
    found = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found["port"]) > _HIGHEST_PORT:
        msg = f"{value!r} is not an address: write host:port, such as 127.0.0.1:8080"
        raise ValueError(msg)
    return text


def parse_listen_address(value: object) -> object:
    """The same for an address to listen on, which Envoy looks up no name for. Raises ValueError."""
    text = parse_address(value)
    host = split_address(str(text))[0]
    if host != "localhost" and not _is_ip(host):
        msg = f"{value!r} names a host: write its IP address, or 0.0.0.0 for every interface"
        raise ValueError(msg)
    return text


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _text_schema(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})


Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    _text_schema(r"^[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h)$", "500ms", "10s", "5m"),
]
"""Whole milliseconds; written with a unit."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema(
        {"type": ["string", "integer"], "pattern": r"^[0-9]{1,15}\s*(B|KiB|MiB|GiB)?$", "examples": ["32MiB", 1048576]}
    ),
]
"""Bytes; written as a number, or with KiB, MiB or GiB."""

ListenAddress = Annotated[
    str, BeforeValidator(parse_listen_address), _text_schema(r"^.*:[0-9]{1,5}$", "127.0.0.1:8080", "0.0.0.0:8080")
]
"""host:port to listen on."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]
"""A name of ours: it appears in headers, metric labels and Envoy's resource names."""


def split_address(address: str) -> tuple[str, int]:
    """``host:port`` → (host without brackets, port)."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach ``host:port``. A host's name other than localhost counts as elsewhere."""
    host = split_address(address)[0]
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


class SecretRef(Model):
    """Where to read a secret: an environment variable or a file, read again at each reload. Never the secret itself."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["env"]}, {"required": ["file"]}]})

    env: str | None = None
    """Name of the environment variable that holds it."""
    file: str | None = Field(default=None, min_length=1)
    """Path of the file that holds it (surrounding white space is ignored)."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_inline(cls, value: object) -> object:
        if isinstance(value, str | int | float):
            # The value is a secret somebody typed in: it must not be repeated in the error.
            msg = "a secret is never written here: use {env: NAME} or {file: PATH}"
            raise ValueError(msg)  # noqa: TRY004 - pydantic reports ValueError as a validation error
        return value

    @field_validator("env")
    @classmethod
    def _names_a_variable(cls, name: str | None) -> str | None:
        if name is not None and not _VARIABLE.fullmatch(name):
            # Not repeated either: it may be the secret, in place of the variable's name.
            msg = "env is the name of an environment variable, such as OPENAI_API_KEY, not the secret itself"
            raise ValueError(msg)
        return name

    @model_validator(mode="after")
    def _one_source(self) -> SecretRef:
        if (self.env is None) == (self.file is None):
            msg = "give exactly one of env and file"
            raise ValueError(msg)
        return self
