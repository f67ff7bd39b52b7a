"""The run's callers: keys of its own, one for each kind of caller that a rule asks for, and one for everybody else."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.config.gateway import Config
from extproc.config.matches import CallerMatch
from extproc.credentials.key_store import hash_of

_SOMEBODY: Final = "selftest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """Without any, nobody is asked for a key."""

    names: Mapping[CallerMatch, str]
    entries: tuple[Mapping[str, Any], ...]
    """What stands under ``keys``."""
    _secrets: Mapping[str, str]

    def name(self, wanted: CallerMatch | None) -> str | None:
        """Of the key that a call has."""
        return None if not self.entries else _SOMEBODY if wanted is None else self.names[wanted]

    def headers(self, name: str | None) -> dict[str, str]:
        """That show it."""
        return {} if name is None else {"authorization": f"Bearer {self._secrets[name]}"}


def make_callers(config: Config) -> Callers:
    """For all rules. Of two that want one key to be different callers, the first has it so."""
    rules = [rule for route in config.routes.values() for rule in route.rules]
    wanted = dict.fromkeys(rule.match.caller for rule in rules if rule.match.caller is not None)
    made = {caller: _entry(caller, place) for place, caller in enumerate(wanted, start=1)}
    entries = {entry["name"]: entry for entry in [*reversed(made.values()), {"name": _SOMEBODY}]} if made else {}
    known = {name: secrets.token_hex(16) for name in entries}
    return Callers(
        names={caller: entry["name"] for caller, entry in made.items()},
        entries=tuple({**entry, "hash": hash_of(known[name])} for name, entry in entries.items()),
        _secrets=known,
    )


def _entry(caller: CallerMatch, place: int) -> dict[str, Any]:
    labels = {name: texts[0] for name in ("tenant", "tier") if (texts := getattr(caller, name)) is not None}
    tags = {} if caller.tags is None else {"tags": list(caller.tags)}
    return {"name": f"{_SOMEBODY}-{place}" if caller.key is None else caller.key[0], **labels, **tags}
