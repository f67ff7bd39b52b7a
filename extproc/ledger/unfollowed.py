"""Attempts and exchanges that end without a last word: nobody is left who could say it.

An attempt left it to the next backend and there was no next attempt: the client had left, or Envoy had given up, and
neither tells anybody. Or its worker was killed in the middle of it. So an attempt that follows another is spooled when
it begins, as it would be booked if nothing more came of it. When its worker is gone, that is booked; and an attempt
that left it to another, and that none has followed within a while, has ended its exchange.

Nothing depends on this being told once: whatever has a row keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from extproc.ledger.entry import ATTEMPT, BEGUN

PATIENCE_MS: Final = 10_000
"""Envoy goes on at once; a machine that is late by more serves nobody."""
LONGEST_MS: Final = 86_400_000
"""No attempt takes longer. Its last word may have been lost to a full disk, though its worker lives."""

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Told:
    """An entry, and the segment that tells it."""

    path: Path
    entry: Entry


class Unfollowed:
    """What has been read of the spool and booked, as far as an exchange may still be open.

    ``open_entries`` tells which of it has to stay in the spool until that is known: after a crash it is read again.
    """

    def __init__(self) -> None:
        self._moved_on: dict[str, _Told] = {}
        self._begun: dict[str, dict[int, _Told]] = {}
        self._gone: dict[Path, int] = {}

    def note(self, path: Path, entries: Iterable[Entry]) -> None:
        """Entries of a segment; those of one exchange may be in several, read in any order."""
        for entry in entries:
            kind, exchange = entry.get("kind"), entry.get("exchange", "")
            if kind == BEGUN:
                self._begun.setdefault(exchange, {})[_number(entry)] = _Told(path, entry)
                continue
            self._forget_begun(exchange, _number(entry))
            if kind == ATTEMPT and not entry.get("final"):
                self._move_on(path, entry)
            else:
                self._moved_on.pop(exchange, None)

    def lost(self, read_ms: int, lives: Callable[[Path], bool]) -> list[dict[str, Any]]:
        """The attempts that ended with their workers, as entries.

        ``read_ms``: everything spooled until then has been noted (Unix milliseconds). ``lives``: whether the worker
        that wrote a segment may write yet.
        """
        for told in [told for told in self._all_begun() if _ended_ms(told.entry) < read_ms - LONGEST_MS]:
            self._forget_begun(told.entry["exchange"], _number(told.entry))
        segments = {told.path for told in self._all_begun()}
        self._gone = {path: self._gone.get(path, read_ms) for path in segments if not lives(path)}
        before = read_ms - PATIENCE_MS
        lost = [told for told in self._all_begun() if self._gone.get(told.path, read_ms) < before]
        return [{**told.entry, "kind": ATTEMPT} for told in lost]

    def end(self, booked: Sequence[Entry]) -> None:
        """What was lost is booked."""
        for entry in booked:
            told = self._begun[entry["exchange"]][_number(entry)]
            self.note(told.path, [entry])

    def due(self, read_ms: int) -> list[dict[str, Any]]:
        """The attempts that ended their exchanges, as entries that say so."""
        before = read_ms - PATIENCE_MS
        return [
            {**told.entry, "final": True}
            for exchange, told in self._moved_on.items()
            if _ended_ms(told.entry) < before and not self._is_followed(exchange)
        ]

    def forget(self, booked: Sequence[Entry]) -> None:
        """What was due is booked."""
        for entry in booked:
            self._moved_on.pop(entry["exchange"], None)

    def open_entries(self) -> dict[Path, list[Entry]]:
        """By the segment that tells them."""
        found: dict[Path, list[Entry]] = {}
        for told in (*self._moved_on.values(), *self._all_begun()):
            found.setdefault(told.path, []).append(told.entry)
        return found

    def _all_begun(self) -> Iterator[_Told]:
        for attempts in self._begun.values():
            yield from attempts.values()

    def _move_on(self, path: Path, entry: Entry) -> None:
        known = self._moved_on.get(entry["exchange"])
        if known is None or _number(known.entry) < _number(entry):
            self._moved_on[entry["exchange"]] = _Told(path, entry)

    def _forget_begun(self, exchange: str, number: int) -> None:
        attempts = self._begun.get(exchange, {})
        attempts.pop(number, None)
        if not attempts:
            self._begun.pop(exchange, None)

    def _is_followed(self, exchange: str) -> bool:
        number = _number(self._moved_on[exchange].entry)
        return any(other > number for other in self._begun.get(exchange, ()))


def _number(entry: Entry) -> int:
    """What has none has been refused when it was booked, and must not stop those behind it."""
    return int(entry.get("attempt", 0))


def _ended_ms(entry: Entry) -> int:
    return int(entry.get("ended_ms", 0))
