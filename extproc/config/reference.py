"""The models → the tables of the README that say every key of kortex.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from extproc.config.backends import Backend, BaseUrl
from extproc.config.expressions import Expression
from extproc.config.gateway import Config, Gateway
from extproc.config.ledger import DatabaseUrl, Days, Ledger
from extproc.config.matches import HeaderWanted, Operations, Paths, Texts, TimeOfDay
from extproc.config.patterns import Pattern
from extproc.config.prices import Amount
from extproc.config.routes import Route
from extproc.config.scalars import Duration, ListenAddress, SecretRef, Size
from extproc.config.schema import meaning, written_defaults
from extproc.config.units import UNIT_WORD, Unit
from extproc.config.validation import models_in

BEGIN: Final = "<!-- config-reference:begin -->"
END: Final = "<!-- config-reference:end -->"

_INTRODUCTION: Final = """\
Durations are a number with a unit: `500ms`, `10s`, `5m`, `1h`. Sizes are bytes, or a number with `KiB`, `MiB` or `GiB`.
A key that is not listed here is an error. Secrets are named, never written: `{env: NAME}` or `{file: PATH}`."""

_ADMISSION: Final = frozenset({"keys", "keysFile", "limits", "budgets", "quota"})
_WORDS: Final[tuple[tuple[object, str], ...]] = (
    (Duration, "duration"),
    (Size, "size"),
    (Amount, "amount in quotes"),
    (ListenAddress, "host:port"),
    (BaseUrl, "URL"),
    (DatabaseUrl, "URL"),
    (Days, "days"),
    (SecretRef, "secret"),
    (Texts, "text or list of text"),
    (Paths, "text or list of text"),
    (Operations, "text or list of text"),
    (TimeOfDay, "time of day"),
    (HeaderWanted, "text or mapping"),
    (Unit, UNIT_WORD),
    (Pattern, "regular expression"),
    (Expression, "CEL"),
    (str, "text"),
    (int, "whole number"),
    (float, "number"),
    (bool, "`true`, `false`"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One key: how it is written, what it takes, what it is when left out, what it means. All in Markdown."""

    key: str
    type: str
    default: str
    meaning: str


def reference_markdown(settings: Mapping[str, type[Backend]]) -> str:
    """One table per section; ``settings`` are the providers' own models by provider name."""
    described: set[type[BaseModel]] = set()
    base = list(_rows(Backend, "", set()))
    differing = {
        provider: [row for row in _rows(model, "", set()) if row not in base] for provider, model in settings.items()
    }
    parts = [
        _INTRODUCTION,
        "### `gateway`",
        _table(_rows(Gateway, "", described)),
        "### `backends.<name>`",
        _table(_with_exceptions(row, differing) for row in base),
        "### `backends.<name>` by provider",
        _table_by_provider(differing),
        "### `routes.<name>`",
        _table(_rows(Route, "", described)),
        "### Callers",
        _table(row for row in _rows(Config, "", {Gateway, Backend, Route}) if row.key.split(".")[0] in _ADMISSION),
        "### `ledger`",
        _table(_rows(Ledger, "", described)),
    ]
    return "\n\n".join(parts)


def with_reference(readme: str, settings: Mapping[str, type[Backend]]) -> str:
    """The README with its reference written anew between the markers.

    Raises ValueError unless each marker stands in it once, in order.
    """
    before, begin, rest = readme.partition(BEGIN)
    outdated, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in outdated + after or END in before + after:
        msg = f"the README needs one {BEGIN} and one {END} behind it"
        raise ValueError(msg)
    return f"{before}{BEGIN}\n{reference_markdown(settings)}\n{END}{after}"


def _rows(
    model: type[BaseModel], prefix: str, described: set[type[BaseModel]], defaults: Mapping[str, Any] | None = None
) -> Iterator[Row]:
    """The keys of a model and, the first time it is met, of each model inside it."""
    hints = get_type_hints(model, include_extras=True)
    if defaults is None:
        defaults = written_defaults(model)
    for name, field in model.model_fields.items():
        key = str(field.alias)
        parts = [part for part in models_in(field.annotation) if part is not SecretRef]
        row = Row(
            key=prefix + key,
            type=_word(hints[name]),
            default="required" if field.is_required() else "–",
            meaning=meaning(model, name),
        )
        default = defaults.get(key)
        # A mapping's own keys say its default.
        yield row if default is None or isinstance(default, dict) else replace(row, default=_code(default))
        for part in parts:
            if part not in described:
                described.add(part)
                yield from _rows(part, f"{prefix}{key}.", described, default if isinstance(default, dict) else None)


def _with_exceptions(row: Row, differing: Mapping[str, list[Row]]) -> Row:
    if row.key == "provider":
        return replace(row, type=", ".join(f"`{provider}`" for provider in differing))
    elsewhere = any(other.key == row.key for rows in differing.values() for other in rows)
    return replace(row, default=f"{row.default}, unless below") if elsewhere else row


def _word(hint: object) -> str:
    """A type in a word. Raises TypeError for one that the tables have no word for yet."""
    for known, word in _WORDS:
        if hint == known:
            return word
    arguments = get_args(hint)
    match get_origin(hint):
        case origin if origin is Literal:
            word = ", ".join(f"`{value}`" for value in arguments)
        case origin if origin in {Union, UnionType}:
            word = " or ".join(dict.fromkeys(_word(part) for part in arguments if part is not NoneType))
        case origin if origin is Annotated:
            word = _word(arguments[0])
        case origin if origin is tuple:
            word = f"list of {_word(arguments[0])}"
        case origin if origin is dict:
            word = f"{_word(arguments[1])} by name"
        case _ if isinstance(hint, type) and issubclass(hint, BaseModel):
            word = "mapping"
        case _:
            raise TypeError(f"the reference has no word for the type {hint!r}")
    return word


def _code(value: object) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _table(rows: Iterable[Row]) -> str:
    lines = [_line(f"`{row.key}`", row.type, row.default, row.meaning) for row in rows]
    return "\n".join([_line("Key", "Type", "Default", "Meaning"), "|---|---|---|---|", *lines])


def _table_by_provider(differing: Mapping[str, list[Row]]) -> str:
    lines = [
        _line(f"`{provider}`", f"`{row.key}`", row.type, row.default, row.meaning)
        for provider, rows in differing.items()
        for row in rows
        if row.key != "provider"
    ]
    return "\n".join([_line("Provider", "Key", "Type", "Default", "Meaning"), "|---|---|---|---|---|", *lines])


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in cells)} |"
