"""``match:`` what must be true of a call for a rule to take it: all that is written, of a list any of its items."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from extproc.config.expressions import Expression
from extproc.config.patterns import Pattern
from extproc.config.scalars import Model
from extproc.config.units import HeaderName, Unit

_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")


def _as_tuple(value: object) -> object:
    """A single text is a list of one."""
    match value:
        case str():
            return (value,)
        case list():
            return tuple(value)
        case _:
            return value


Texts = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(_as_tuple),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
    ),
]
"""One text or a list of them."""


def parse_time_of_day(value: object) -> object:
    """``08:30`` → minutes since midnight; ``24:00`` is the end of the day. Raises ValueError for anything else."""
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        msg = "a time of day is written 08:30"
        raise ValueError(msg)
    return 24 * 60 if found[1] is None else int(found[1]) * 60 + int(found[2])


def format_time_of_day(minutes: int) -> str:
    """The inverse."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


TimeOfDay = Annotated[
    int,
    BeforeValidator(parse_time_of_day),
    PlainSerializer(format_time_of_day, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^({_TIME.pattern})$", "examples": ["08:30"]}),
]
"""Minutes since midnight."""


class NumberRange(Model):
    """Bounds of a whole number; all that are given must hold."""

    gt: int | None = Field(default=None, ge=0)
    """More than this."""
    gte: int | None = Field(default=None, ge=0)
    """This or more."""
    lt: int | None = Field(default=None, ge=0)
    """Less than this."""
    lte: int | None = Field(default=None, ge=0)
    """This or less."""


_ONE_OF_HEADER: Final = ("exact", "prefix", "regex", "present")


class HeaderMatch(Model):
    """What a request header must be; one of these."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [key]} for key in _ONE_OF_HEADER]})

    exact: str | None = None
    """The whole value."""
    prefix: str | None = Field(default=None, min_length=1)
    """The start of the value."""
    regex: Pattern | None = None
    """Found anywhere in the value, unless anchored with ``^`` and ``$``; Rust's syntax, without look-around."""
    present: bool | None = None
    """Whether the header is there at all."""

    @model_validator(mode="after")
    def _one_way(self) -> HeaderMatch:
        if sum(getattr(self, key) is not None for key in _ONE_OF_HEADER) != 1:
            msg = f"give exactly one of {', '.join(_ONE_OF_HEADER)}"
            raise ValueError(msg)
        return self


def _kind(value: object) -> str:
    return "mapping" if isinstance(value, dict | HeaderMatch) else "text"


HeaderWanted = Annotated[Annotated[str, Tag("text")] | Annotated[HeaderMatch, Tag("mapping")], Discriminator(_kind)]
"""The whole value as text, or ``{exact | prefix | regex | present: …}``."""


class CallerMatch(Model):
    """Who calls, by what the config says of the key."""

    key: Texts | None = None
    """Name of the key."""
    tenant: Texts | None = None
    """Its tenant."""
    tier: Texts | None = None
    """Its tier."""
    tags: Texts | None = None
    """Tags that it must have, all of them."""


Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class TimeWindow(Model):
    """Hours of the day, on some days of the week. A window that passes midnight belongs to the day it begins on."""

    days: tuple[Day, ...] | None = Field(default=None, min_length=1)
    """Days of the week. Default: every day."""
    from_: TimeOfDay = Field(default=0, alias="from")
    """When it begins."""
    to: TimeOfDay = 24 * 60
    """When it is over."""
    timezone: str = "UTC"
    """Whose clock: a name of the IANA database, such as ``Europe/Berlin``."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            msg = f"there is no time zone {name!r} on this machine; names are like Europe/Berlin"
            raise ValueError(msg) from None
        return name


class Percentage(Model):
    """A share of the calls; the same unit is always in it or never."""

    value: float = Field(ge=0, le=100)
    """Percent of the units."""
    by: Unit | None = None
    """What is kept together. Default, and for calls without it: each call for itself."""


def _one_or_more(*names: str) -> WithJsonSchema:
    one = {"type": "string", "enum": list(names)}
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})


Path = Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
Paths = Annotated[tuple[Path, ...], Field(min_length=1), BeforeValidator(_as_tuple), _one_or_more(*get_args(Path))]
Operation = Literal["chat", "text_completion", "embeddings"]
Operations = Annotated[
    tuple[Operation, ...], Field(min_length=1), BeforeValidator(_as_tuple), _one_or_more(*get_args(Operation))
]
Use = Literal["tools", "images", "files", "audio", "json_schema", "reasoning"]


class Match(Model):
    """What must be true of a call; all of it. Without any of these, every call matches."""

    model: Texts | None = None
    """The name that the client asked for: names or globs (``*``, ``?``)."""
    headers: dict[HeaderName, HeaderWanted] | None = None
    """Request headers by name: the whole value, or one of ``exact``, ``prefix``, ``regex``, ``present``."""
    path: Paths | None = None
    """The request's path, such as ``/v1/embeddings``."""
    operation: Operations | None = None
    """``chat``, ``text_completion`` or ``embeddings``."""
    prompt_tokens: NumberRange | None = None
    """Tokens of the prompt, counted by the vocabulary of the route's default model, up to the bound and no further."""
    max_tokens: NumberRange | None = None
    """The client's limit for the answer; a call without one does not match."""
    stream: bool | None = None
    """Whether the answer is to be streamed."""
    uses: tuple[Use, ...] | None = Field(default=None, min_length=1)
    """What the call must use, all of it."""
    caller: CallerMatch | None = None
    """Who calls."""
    user: Texts | None = None
    """The end user: of the key, else the body's ``user`` or ``safety_identifier``."""
    metadata: dict[str, Texts] | None = None
    """Fields of the body's ``metadata``, by name."""
    time: TimeWindow | None = None
    """When the call arrives."""
    percentage: Percentage | None = None
    """A share of the calls."""
    when: Expression | None = None
    """CEL over the same facts, and ``now``: ``caller.tier == "free" && promptTokens > 4000``. An error is no match."""
