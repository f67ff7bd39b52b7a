"""The writer's side of the spool: which segments there are, what is new in them, and when one may go."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from extproc.ledger.spool import SUFFIX, UNNAMED, WORKER, read_line, to_line, worker_file

_LOCK: Final = "writer.lock"
_READ_BYTES: Final = 1 << 20
_ABANDONED_SECONDS: Final = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What was read of a segment: its entries, where to go on, and how many lines were damaged."""

    path: Path
    entries: tuple[dict[str, Any], ...]
    end: int
    damaged: int

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.entries or self.damaged)


class Segments:
    """A spool directory and how far each of its segments has been booked."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._booked: dict[Path, int] = {}
        self._reduced: set[Path] = set()

    @contextmanager
    def owned(self) -> Iterator[bool]:
        """Inside the block, whether this process alone reads the spool. The lock ends with the process."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._directory / _LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def paths(self) -> list[Path]:
        """Oldest first."""
        return sorted(self._directory.glob(f"*{SUFFIX}"))

    def sweep(self, *, now: float) -> None:
        """Remove what killed workers left: a sign of life, and what one had just made. ``now`` is Unix seconds."""
        for path in self._directory.glob(f"*{WORKER}"):
            if not _is_locked(path):
                path.unlink()
        for path in self._directory.glob(f"*{UNNAMED}"):
            if now - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()

    def waiting_bytes(self) -> int:
        """What has not been booked."""
        return sum(_size(path) - self._booked.get(path, 0) for path in self.paths())

    def read(self, path: Path) -> Piece:
        """The next lines of a segment, as many as there are whole, about a megabyte at most."""
        start = self._booked.get(path, 0)
        if path in self._reduced:
            return Piece(path=path, entries=(), end=start, damaged=0)
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(_READ_BYTES)
        whole = data[: data.rfind(b"\n") + 1]
        entries = [read_line(line) for line in whole.split(b"\n")[:-1]]
        kept = tuple(entry for entry in entries if entry is not None)
        return Piece(path=path, entries=kept, end=start + len(whole), damaged=len(entries) - len(kept))

    def advance(self, piece: Piece) -> None:
        """The piece is booked."""
        self._booked[piece.path] = piece.end

    def worker_lives(self, path: Path) -> bool:
        """Whether the worker that wrote a segment may write yet, be it in another."""
        return _is_locked(worker_file(path))

    def remove_finished(self, path: Path, kept: Sequence[Mapping[str, Any]] = ()) -> bool:
        """Remove a segment that is booked to its end and that no worker writes to; tell whether its last line was torn.

        Where something in it is still needed, ``kept``, a segment of that alone takes its place: the spool's limit is
        for what waits. A line without an end, where nobody is left to finish it, is what a full disk or a power cut
        left.
        """
        if kept and path in self._reduced:
            return False
        booked = self._booked.get(path, 0)
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            file.seek(booked)
            rest = b"" if path in self._reduced else file.read(_READ_BYTES)
            if b"\n" in rest:
                return False
            if kept:
                self._reduce(path, kept)
                return bool(rest)
            path.unlink()
        self._booked.pop(path, None)
        self._reduced.discard(path)
        return bool(rest)

    def _reduce(self, path: Path, kept: Sequence[Mapping[str, Any]]) -> None:
        aside = path.with_suffix(UNNAMED)
        with aside.open("wb") as file:
            for entry in kept:
                file.write(to_line(entry))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        self._booked[path] = _size(path)
        self._reduced.add(path)


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
