"""The writer's side of the spool: which segments there are, what is new in them, and when one may go."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from extproc.ledger.spool import SUFFIX, UNNAMED, read_line

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


class Segments:
    """A spool directory and how far each of its segments has been booked."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._booked: dict[Path, int] = {}

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
        """Remove what a worker had just made when it was killed. ``now`` is Unix seconds."""
        for path in self._directory.glob(f"*{UNNAMED}"):
            if now - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()

    def waiting_bytes(self) -> int:
        """What has not been booked."""
        return sum(_size(path) - self._booked.get(path, 0) for path in self.paths())

    def read(self, path: Path) -> Piece:
        """The next lines of a segment, as many as there are whole, about a megabyte at most."""
        start = self._booked.get(path, 0)
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

    def remove_finished(self, path: Path) -> bool:
        """Remove a segment that is booked to its end and that no worker writes to; tell whether its last line was torn.

        A line without an end, where nobody is left to finish it, is what a full disk or a power cut left.
        """
        booked = self._booked.get(path, 0)
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            file.seek(booked)
            rest = file.read(_READ_BYTES)
            if b"\n" in rest:
                return False
            path.unlink()
        self._booked.pop(path, None)
        return bool(rest)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
