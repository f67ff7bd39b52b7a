"""The thread that books what the workers spooled, and waits with it while the database is away.

A batch is one transaction; the segment is read on from there only when it is committed, and removed when all of it
is. So a crash at any point repeats entries at most, and booking those again changes nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from extproc.ledger.booking import book
from extproc.ledger.database import Database, LedgerTooNew, reason
from extproc.ledger.entry import BEGUN
from extproc.ledger.retention import forget, oldest_kept_ms
from extproc.ledger.segments import Piece, Segments
from extproc.ledger.unfollowed import Unfollowed

_LOG: Final = logging.getLogger(__name__)
_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 10.0
_FORGET_SECONDS: Final = 3_600.0
_FAREWELL_SECONDS: Final = 5.0
# The entry's own fault. Everything else, such as a missing table or permission, is the database's, and waits.
_UNUSABLE: Final = (DataError, IntegrityError, LookupError, TypeError, ValueError, ArithmeticError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One moment. ``problem`` is why the database takes nothing; ``oldest_ms`` when the oldest waiting entry ended."""

    problem: str | None = None
    waiting_bytes: int = 0
    oldest_ms: int | None = None
    attempts: int = 0
    exchanges: int = 0
    damaged: int = 0
    """Lines that a crash of the machine or a full disk left unreadable."""
    refused: int = 0
    """Entries that the database will not take, whatever is tried."""
    deleted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How many days records and sums are kept."""

    records: int
    summaries: int


class Writer:
    """``run`` is for a thread of its own; ``status`` may be read from any. ``now`` gives Unix seconds."""

    def __init__(self, directory: Path, database: Database, kept: Kept, now: Callable[[], float] = time.time) -> None:
        self._segments = Segments(directory)
        self._unfollowed = Unfollowed()
        self._database = database
        self._kept = kept
        self._now = now
        self._prepared = False
        self._forget_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name="ledger-writer", daemon=True)
        self.status = Status()

    def start(self) -> None:
        """In the background."""
        self._thread.start()

    def stop(self) -> None:
        """Book what is there, if the database takes it within a few seconds; the rest waits for the next start."""
        self._stopping.set()
        self._thread.join(_FAREWELL_SECONDS)

    def run(self) -> None:
        """Until ``stop``, and once more for what came last."""
        try:
            while not self._stopping.is_set():
                try:
                    with self._segments.owned() as ours:
                        if ours:
                            self._write_until_stopped()
                except OSError as error:
                    self._fail(error)
                self._stopping.wait(_PAUSE_SECONDS)
        finally:
            self._database.close()

    def _write_until_stopped(self) -> None:
        pause = _PAUSE_SECONDS
        while not self._stopping.is_set():
            pause = _PAUSE_SECONDS if self.catch_up() else min(pause * 2, _LONGEST_PAUSE_SECONDS)
            self._stopping.wait(pause)
        self.catch_up()

    def catch_up(self) -> bool:
        """Book everything that waits; False when the database or the spool cannot be used now."""
        try:
            self._prepare()
            self.status = replace(self.status, waiting_bytes=self._segments.waiting_bytes())
            read_ms = int(self._now() * 1_000)
            for path in self._segments.paths():
                self._book_segment(path)
            self._book_unfollowed(read_ms)
            self._remove_finished(self._segments.paths())
            self._forget()
        except (DBAPIError, LedgerTooNew, OSError) as error:
            self._fail(error)
            return False
        except Exception as error:
            _LOG.exception("the ledger's writer failed; it tries again")
            self._fail(error)
            return False
        self._succeed()
        return True

    def _prepare(self) -> None:
        if not self._prepared:
            self._database.prepare()
            self._prepared = True

    def _book_segment(self, path: Path) -> None:
        """And make room at once: there may be many, and the spool may be full."""
        told = False
        while piece := self._segments.read(path):
            told = True
            self._note(piece)
            kept = [entry for entry in piece.entries if entry.get("kind") != BEGUN]
            if kept:
                self._book(kept)
            self._unfollowed.note(path, piece.entries)
            self._segments.advance(piece)
        if told:
            self._remove_finished([path])

    def _remove_finished(self, paths: Iterable[Path]) -> None:
        still_open = self._unfollowed.open_entries()
        for path in paths:
            if self._segments.remove_finished(path, still_open.get(path, ())):
                self._add(damaged=1)

    def _book_unfollowed(self, read_ms: int) -> None:
        lost = self._unfollowed.lost(read_ms, self._segments.worker_lives)
        if lost:
            self._book(lost)
            self._unfollowed.end(lost)
        due = self._unfollowed.due(read_ms)
        if due:
            self._book(due)
            self._unfollowed.forget(due)

    def _note(self, piece: Piece) -> None:
        if piece.entries:
            self.status = replace(self.status, oldest_ms=piece.entries[0].get("ended_ms"))
        if piece.damaged:
            _LOG.error("the ledger's spool has %d unreadable lines in %s", piece.damaged, piece.path.name)
            self._add(damaged=piece.damaged)

    def _book(self, entries: Sequence[dict[str, Any]]) -> None:
        """What the database will not take is looked for by halves, so that it keeps nothing else out.

        An entry that retention would delete at once may have been deleted: it must not be booked a second time.
        """
        oldest = oldest_kept_ms(self._now(), self._kept.records)
        try:
            with self._database.writing() as connection:
                booked = book(connection, [entry for entry in entries if entry["ended_ms"] >= oldest])
        except _UNUSABLE as error:
            if len(entries) > 1:
                half = len(entries) // 2
                self._book(entries[:half])
                self._book(entries[half:])
                return
            _LOG.error(
                "the ledger cannot take the record of exchange %s: %s", entries[0].get("exchange"), reason(error)
            )
            self._add(refused=1)
            return
        self._add(attempts=booked.attempts, exchanges=booked.exchanges)

    def _add(self, **counts: int) -> None:
        changed = {name: getattr(self.status, name) + count for name, count in counts.items()}
        self.status = replace(self.status, **changed)

    def _forget(self) -> None:
        now = self._now()
        if now < self._forget_at:
            return
        self._forget_at = now + _FORGET_SECONDS
        self._segments.sweep(now=now)
        self._add(deleted=forget(self._database, now=now, days=self._kept.records, summary_days=self._kept.summaries))

    def _fail(self, error: Exception) -> None:
        problem = reason(error)
        if self.status.problem is None:
            _LOG.error("the ledger %s cannot be written, records wait in the spool: %s", self._database.name, problem)
        self.status = replace(self.status, problem=problem, waiting_bytes=self._segments.waiting_bytes())

    def _succeed(self) -> None:
        if self.status.problem is not None:
            _LOG.warning("the ledger %s is written again", self._database.name)
        self.status = replace(self.status, problem=None, oldest_ms=None, waiting_bytes=self._segments.waiting_bytes())
