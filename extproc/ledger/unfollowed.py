"""Exchanges that end without a last word: an attempt left it to the next backend, and there was no next attempt.

Its client had left, or Envoy had given up, and neither tells anybody. So an attempt that follows another is spooled
when it begins; where none has within a while, the attempt that ended last has ended the exchange.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from extproc.ledger.entry import ATTEMPT, BEGUN

PATIENCE_MS: Final = 10_000
"""Envoy goes on at once; a machine that is late by more serves nobody."""

Entry = Mapping[str, Any]


class Unfollowed:
    """What has been read of the spool and booked, as far as an exchange may still be open.

    ``holds`` tells which segments have to stay until that is known: after a crash they are read again.
    """

    def __init__(self) -> None:
        self._moved_on: dict[str, tuple[Path, Entry]] = {}
        self._begun: dict[str, Entry] = {}

    def note(self, path: Path, entries: Iterable[Entry]) -> None:
        """Entries of a segment; those of one exchange may be in several, read in any order."""
        for entry in entries:
            kind, exchange = entry.get("kind"), entry.get("exchange", "")
            if kind == BEGUN:
                self._begun[exchange] = _later(entry, self._begun.get(exchange))
            elif kind == ATTEMPT and not entry.get("final"):
                known = self._moved_on.get(exchange)
                if known is None or _number(known[1]) < _number(entry):
                    self._moved_on[exchange] = path, entry
            else:
                self._moved_on.pop(exchange, None)
                self._begun.pop(exchange, None)

    def due(self, read_ms: int) -> list[dict[str, Any]]:
        """The attempts that ended their exchanges, as entries that say so, and not again those that were followed.

        ``read_ms``: everything spooled until then has been noted (Unix milliseconds).
        """
        before = read_ms - PATIENCE_MS
        old = [exchange for exchange, (_, entry) in self._moved_on.items() if _ended_ms(entry) < before]
        for exchange in old:
            if self._is_followed(exchange):
                del self._moved_on[exchange]
        # An attempt begins about when the one before it ends: that one has been looked at by now.
        for exchange in [name for name, entry in self._begun.items() if _ended_ms(entry) < before - PATIENCE_MS]:
            del self._begun[exchange]
        return [{**self._moved_on[exchange][1], "final": True} for exchange in old if exchange in self._moved_on]

    def forget(self, booked: Sequence[Entry]) -> None:
        """What was due is booked."""
        for entry in booked:
            self._moved_on.pop(entry["exchange"], None)

    def holds(self, path: Path) -> bool:
        """Whether an exchange may be open of which a segment tells."""
        return any(path == segment for segment, _ in self._moved_on.values())

    def _is_followed(self, exchange: str) -> bool:
        begun = self._begun.get(exchange)
        return begun is not None and _number(begun) > _number(self._moved_on[exchange][1])


def _later(entry: Entry, other: Entry | None) -> Entry:
    return entry if other is None or _number(entry) > _number(other) else other


def _number(entry: Entry) -> int:
    """What has none has been refused when it was booked, and must not stop those behind it."""
    return int(entry.get("attempt", 0))


def _ended_ms(entry: Entry) -> int:
    return int(entry.get("ended_ms", 0))
