"""What an attempt gives for its client, piece by piece: the reply's headers, then its body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The reply's headers may go now."""

    status: int
    set_headers: tuple[tuple[str, str], ...]
    remove_headers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Bytes for the client; ``end`` closes the reply, and with it the provider's, wherever that was."""

    data: bytes
    end: bool


Step: TypeAlias = Head | Body
