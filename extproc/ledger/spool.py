"""The worker's side of the spool: an entry is in a file before the client has the end of its reply.

Each worker appends to a segment of its own, one checksummed line per entry, by one ``write``: what the kernel has
taken survives the end of the process, however it comes. A thread asks the disk for it once a second, so that a power
cut costs no more than that. A lock on the open segment tells the writer that more may come in it; one on a file beside
them, for as long as the worker lives, that more may come of it in another.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import tempfile
import threading
import time
import zlib
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

_LOG: Final = logging.getLogger(__name__)
SUFFIX: Final = ".jsonl"
UNNAMED: Final = ".new"
WORKER: Final = ".worker"
_SEGMENT_BYTES: Final = 1 << 20
_SYNC_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 1.0
_PRIVATE: Final = 0o600


class SpoolUnavailable(Exception):
    """Nothing can be written there now; the message says why."""


def prepare_spool(directory: Path) -> None:
    """Make it, and see that it takes files: at a start, while somebody looks. Raises SpoolUnavailable."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise SpoolUnavailable(f"{directory} cannot be written: {error.strerror or error}") from error


class Spool:
    """``limit`` bounds the bytes of all segments in the directory, whoever wrote them, up to a segment per worker."""

    def __init__(self, directory: Path, *, limit: int) -> None:
        self._directory = directory
        self._limit = limit
        self._worker = secrets.token_hex(4)
        self._sign_of_life: _Locked | None = None
        self._segment: _Segment | None = None
        self._retired: deque[_Segment] = deque()
        self._problem: str | None = None
        self._retry_at = 0.0
        self._closing = threading.Event()
        self._syncer = threading.Thread(target=self._sync_until_closed, name="ledger-sync", daemon=True)
        self._syncer.start()

    def write(self, entry: Mapping[str, Any]) -> bool:
        """Whether it was written. Never raises and never waits; what cannot be written is for the caller to count."""
        now = time.monotonic()
        if self._problem is not None and now < self._retry_at:
            return False
        try:
            self._current().append(to_line(entry))
        except (OSError, SpoolUnavailable) as error:
            self._complain(str(error))
            self._retry_at = now + _RETRY_SECONDS
            self._retire()
            return False
        if self._problem is not None:
            _LOG.warning("the ledger's spool takes records again")
            self._problem = None
        return True

    def close(self) -> None:
        """Everything is on the disk when it returns."""
        self._retire()
        self._closing.set()
        self._syncer.join()
        if self._sign_of_life is not None:
            self._sign_of_life.remove()
            self._sign_of_life = None

    def _current(self) -> _Segment:
        if self._segment is not None and self._segment.size >= _SEGMENT_BYTES:
            self._retire()
        if self._segment is None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if spooled_bytes(self._directory) >= self._limit:
                raise SpoolUnavailable(f"{self._directory} holds {self._limit >> 20} MiB, as much as it may")
            if self._sign_of_life is None:
                self._sign_of_life = _Locked(self._directory, f"{self._worker}{WORKER}")
            self._segment = _Segment(self._directory, self._worker)
        return self._segment

    def _retire(self) -> None:
        if self._segment is not None:
            self._retired.append(self._segment)
            self._segment = None

    def _complain(self, problem: str) -> None:
        if self._problem is None:
            _LOG.error("records are lost, the ledger's spool takes none: %s", problem)
        self._problem = problem

    def _sync_until_closed(self) -> None:
        ended = False
        while not ended:
            ended = self._closing.wait(_SYNC_SECONDS)
            segment = self._segment
            while self._retired:
                self._retired.popleft().close()
            if segment is not None and not ended:
                segment.sync()


class _Locked:
    """A file that gets its name when it is locked, so that whoever sees it unlocked may take it for finished."""

    def __init__(self, directory: Path, name: str) -> None:
        aside = directory / f"{secrets.token_hex(8)}{UNNAMED}"
        self._path = directory / name
        self.file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, _PRIVATE)
        fcntl.flock(self.file, fcntl.LOCK_EX)
        aside.rename(self._path)

    def remove(self) -> None:
        """And unlock."""
        self._path.unlink(missing_ok=True)
        os.close(self.file)


class _Segment:
    """One file of entries."""

    def __init__(self, directory: Path, worker: str) -> None:
        self._file = _Locked(directory, f"{time.time_ns():020d}-{worker}{SUFFIX}").file
        self.size = 0
        self._synced = 0

    def append(self, line: bytes) -> None:
        written = os.write(self._file, line)
        self.size += written
        if written != len(line):
            raise SpoolUnavailable("the disk is full")

    def sync(self) -> None:
        """Called by one thread alone, as ``close`` is."""
        size = self.size
        if size != self._synced:
            try:
                os.fsync(self._file)
            except OSError as error:
                _LOG.warning("the ledger's spool is not on the disk yet: %s", error)
                return
            self._synced = size

    def close(self) -> None:
        self.sync()
        os.close(self._file)


def to_line(entry: Mapping[str, Any]) -> bytes:
    """A checksum, JSON, and the end of the line."""
    text = orjson.dumps(entry)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read_line(line: bytes) -> dict[str, Any] | None:
    """The inverse, of a line without its end; None when it is not whole."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    entry: dict[str, Any] = orjson.loads(text)
    return entry


def worker_file(segment: Path) -> Path:
    """The file that is locked while the worker lives that wrote a segment."""
    return segment.with_name(f"{segment.stem.rpartition('-')[2]}{WORKER}")


def spooled_bytes(directory: Path) -> int:
    """What waits in a directory."""
    total = 0
    with os.scandir(directory) as files:
        for file in files:
            if file.name.endswith(SUFFIX):
                try:
                    total += file.stat().st_size
                except FileNotFoundError:  # booked just now
                    continue
    return total
