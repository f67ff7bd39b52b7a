"""The table in extproc/dialects/SUPPORT.md: what becomes of each feature of a chat request at each provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from extproc.openai.call import Operation
from extproc.openai.features import OTHERS, Support, support_for
from extproc.providers.base import Provider

# Not features: what is asked of whom, and how it comes back.
NOT_FEATURES: Final = frozenset({"model", "messages", "stream", "stream_options"})
API_FIELDS: Final = tuple(
    name for name in get_type_hints(CompletionCreateParamsNonStreaming) if name not in NOT_FEATURES
)
_INTRODUCTION: Final = """\
# What becomes of each feature of a chat request

Written by `make golden` from the tables in the code; a test holds them against every field of OpenAI's own request.

- **mapped**: written in the provider's own way.
- **passed**: sent as it came; the provider judges it.
- **dropped**: a knob that the provider lacks. It is left out and named in `x-kortex-dropped-params`; on a route with
  `strict: true` the backend is passed by instead.
- **refused**: without it the request would mean something else. The backend is passed by; where none remains, a 400
  names the feature and the backends.

Fields are OpenAI's; `response_format.json_schema`, `tools.strict`, `tool_choice.required` and their like are kinds of
them, `content.…` kinds of content (`image_url`: an address, `image_data`: a data URL). Some models can do less than
their provider, which the gateway knows where the provider says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Providers that do the same with everything."""

    title: str
    table: Mapping[str, Support]


def columns(providers: Mapping[str, Provider[Any]]) -> list[Column]:
    """In the order of the registry, those that pass everything last."""
    titles: dict[tuple[str, frozenset[tuple[str, Support]]], list[str]] = {}
    for provider in providers.values():
        for dialect, operations in provider.offers.items():
            chat = operations.get(Operation.CHAT)
            if chat is None or provider.answer is not None:
                continue
            title = provider.name if len(provider.offers) == 1 else f"{provider.name} ({dialect})"
            titles.setdefault((dialect, frozenset(chat.support.items())), []).append(title)
    found = [Column(title=", ".join(names), table=dict(table)) for (_, table), names in titles.items()]
    return sorted(found, key=lambda column: not column.table)


def support_markdown(providers: Mapping[str, Provider[Any]]) -> str:
    """The whole page."""
    shown = columns(providers)
    head = ["feature", *(column.title for column in shown)]
    rows = [(f"`{feature}`", feature) for feature in _features(shown)]
    rows += [("any other field", "other"), ("any other kind of one", "other.kind")]
    body = (_row([words, *(support_for(feature, column.table).value for column in shown)]) for words, feature in rows)
    lines = [_row(head), _row(["---"] * len(head)), *body]
    return f"{_INTRODUCTION}\n\n" + "\n".join(lines) + "\n"


def _features(shown: list[Column]) -> Iterator[str]:
    """The API's fields, each followed by its kinds, and then whatever else a table names."""
    named = {name for column in shown for name in column.table} - {OTHERS}
    for name in API_FIELDS:
        yield name
        yield from sorted(other for other in named if other.startswith(f"{name}."))
    kinds = {f"{name}." for name in API_FIELDS}
    rest = named - set(API_FIELDS)
    yield from sorted(name for name in rest if not name.startswith(tuple(kinds)))


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
