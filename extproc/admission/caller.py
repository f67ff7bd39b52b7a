"""Who is calling: what a key says of its holder, as every later decision, count and record needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """``key`` is the key's name in the config, never the secret; None where the gateway asks for no keys."""

    key: str | None = None
    tenant: str | None = None
    user: str | None = None
    tier: str | None = None
    tags: tuple[str, ...] = ()


ANONYMOUS: Final = Caller()
"""Anybody, on a gateway without keys."""
