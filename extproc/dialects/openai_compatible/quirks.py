"""Where a server's requests differ from OpenAI's, as data, and what becomes of a client's body because of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import orjson

from extproc.dialects.openai_compatible.nested import NESTED, system_for_developer
from extproc.errors import UnsupportedFeature
from extproc.openai.features import OTHERS, Support, support_for, used_features

Json = dict[str, Any]
Rewrite = Callable[[Json], Json]
"""A body's fields as the server takes them. What does not change stays the same object, and the client's as it was."""

_GONE: Final = frozenset({Support.DROPPED, Support.REFUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """``dropped`` and ``refused`` name features; what is not named passes, unless ``others`` says otherwise.

    ``renamed``: OpenAI's name of a field and the server's. ``developer``: whether it knows that role, which otherwise
    is ``system``. ``rewrites``: what takes more than this; the features they concern are named in ``mapped``.
    """

    renamed: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    mapped: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    others: Support | None = Support.PASSED
    developer: bool = True
    rewrites: tuple[Rewrite, ...] = ()


@lru_cache(maxsize=64)
def support_table(quirks: Quirks) -> Mapping[str, Support]:
    """What becomes of each feature; empty where all of them pass."""
    table = {
        **dict.fromkeys(quirks.passed, Support.PASSED),
        **dict.fromkeys((*(name for name, _ in quirks.renamed), *quirks.mapped), Support.MAPPED),
        **dict.fromkeys(quirks.dropped, Support.DROPPED),
        **dict.fromkeys(quirks.refused, Support.REFUSED),
    }
    if table and quirks.others is not None:
        table[OTHERS] = quirks.others
    return MappingProxyType(table)


def changes_for(fields: Json, quirks: Quirks) -> tuple[dict[str, bytes | None], tuple[str, ...]]:
    """The members of a body to change, as ``splice`` takes them, and the names of the features that are dropped.

    Raises UnsupportedFeature for what the server would refuse, and what a rewrite raises.
    """
    table = support_table(quirks)
    dropped = _judge(fields, table)
    written = dict(fields)
    if table:
        # Also where a field asks for nothing: the server knows not even its name.
        written = {name: value for name, value in fields.items() if _stays(name, table)}
    for name, own in quirks.renamed:
        value = written.pop(name, None)
        if value is not None:
            written[own] = value
    if not quirks.developer:
        written = system_for_developer(written)
    for feature in dropped:
        if feature in NESTED:
            written = NESTED[feature](written)
    for rewrite in quirks.rewrites:
        written = rewrite(written)
    changes: dict[str, bytes | None] = {name: None for name in fields if name not in written}
    for name, value in written.items():
        if name not in fields or value is not fields[name]:
            changes[name] = orjson.dumps(value)
    return changes, dropped


def _judge(fields: Json, table: Mapping[str, Support]) -> tuple[str, ...]:
    if not table:
        return ()
    judged = {feature: support_for(feature, table) for feature in used_features(fields)}
    refused = sorted(feature for feature, support in judged.items() if support is Support.REFUSED)
    if refused:
        raise UnsupportedFeature(f"This provider cannot do this: {', '.join(refused)}.", param=refused[0])
    return tuple(sorted(feature for feature, support in judged.items() if support is Support.DROPPED))


def _stays(name: str, table: Mapping[str, Support]) -> bool:
    return name in _ALWAYS or support_for(name, table) not in _GONE


_ALWAYS: Final = frozenset({"model", "messages", "stream", "stream_options", "input", "prompt"})
