"""What a reload cannot change: a few settings shape processes rather than requests."""

from __future__ import annotations

from typing import Final

from pydantic.alias_generators import to_camel

from extproc.exchange.snapshot import Snapshot

_FIXED: Final = ("listen", "admin", "heap_limit", "max_connections", "access_log", "tracing")


class FixedAtStart(Exception):
    """A reload would change what only a start can."""


def check_fixed_at_start(before: Snapshot, after: Snapshot) -> None:
    """Raises FixedAtStart: pretending to take such a setting up would be worse than refusing."""
    old, new = before.config.gateway, after.config.gateway
    changed = [f"gateway.{to_camel(name)}" for name in _FIXED if getattr(old, name) != getattr(new, name)]
    changed += [name for name in ("ledger", "quota") if getattr(before.config, name) != getattr(after.config, name)]
    if changed:
        message = f"{', '.join(changed)} cannot change while the gateway runs: start it again to change it"
        raise FixedAtStart(message)
