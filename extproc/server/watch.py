"""Notices when kortex.yaml, its file of keys, or a file of one of its secrets, says something else than before.

Events of the file system only say *when* to look; what counts is whether the contents differ. So it does not matter how
a file is replaced: written in place, renamed over, deleted and made again, or, as in Kubernetes, by a symbolic link
somewhere on its path that points elsewhere. Where there are no events (network file systems, a directory that was
removed), looking every half second is enough.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchfiles import awatch

from extproc.config.load import ConfigError, load
from extproc.credentials.secrets import secret_files
from extproc.providers.registry import SETTINGS

_LOG: Final = logging.getLogger(__name__)
_LOOK_EVERY_MS: Final = 500
_DEBOUNCE_MS: Final = 50
_STEP_MS: Final = 100
"""How often watchfiles looks whether there are events, also where nothing happens; after the second look it tells."""
_SETTLE_SECONDS: Final = 0.05
_SETTLE_ROUNDS: Final = 20
_LARGEST_SECRET: Final = 64 << 10
_MOST_LINKS: Final = 40

Reload = Callable[[bytes], Awaitable[None]]
Refuse = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the files said at one moment: the text or why there is none, and a digest of each secret file."""

    text: bytes | None
    problem: str | None
    secrets: tuple[tuple[Path, bytes | None], ...]


class ConfigUnreadable(Exception):
    """The file of the configuration cannot be read; the message says which and why."""


def read_config(path: Path) -> bytes:
    """The file's content. Raises ConfigUnreadable."""
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        raise ConfigUnreadable(message) from error


class Watcher:
    """``run`` watches until ``stop``.

    ``reload`` is awaited with the text after each change of it or of a secret; ``refuse`` is told when it cannot be
    read. ``text`` is what is being served.
    """

    def __init__(self, path: Path, text: bytes, *, reload: Reload, refuse: Refuse) -> None:
        self._path = path
        self._reload = reload
        self._refuse = refuse
        self._stopping = asyncio.Event()
        self._secrets = _named_secrets(text)
        self._seen = _Seen(text=text, problem=None, secrets=_digests(self._secrets))

    async def run(self) -> None:
        """Until ``stop`` is called."""
        while not self._stopping.is_set():
            watched = _directories(self._files())
            try:
                await self._watch(watched)
            except OSError as error:
                # A directory went away while it was being watched, or the system has no watches left.
                _LOG.debug("watching by looking only: %s", error)
                await self._look()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _LOOK_EVERY_MS / 1_000)

    def stop(self) -> None:
        """``run`` returns soon."""
        self._stopping.set()

    async def _watch(self, watched: frozenset[tuple[Path, int]]) -> None:
        """Until other directories are to be watched."""
        changes = awatch(
            *(directory for directory, _ in watched),
            watch_filter=None,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            stop_event=self._stopping,
            rust_timeout=_LOOK_EVERY_MS,
            yield_on_timeout=True,
            recursive=False,
        )
        async with contextlib.aclosing(changes):
            # Between the last look and the first event something may have changed unseen.
            await self._look()
            async for _ in changes:
                await self._look()
                if _directories(self._files()) != watched:
                    return

    async def _look(self) -> None:
        """Tell what has changed since the last time, once it has stopped changing."""
        seen = self._read()
        if seen == self._seen:
            return
        for _ in range(_SETTLE_ROUNDS):
            # An editor that writes in place is seen with half a file, or with none.
            await asyncio.sleep(_SETTLE_SECONDS)
            before, seen = seen, self._read()
            if seen == before:
                break
        if seen == self._seen:
            return
        self._seen = seen
        if seen.text is None:
            self._refuse(seen.problem or "")
            return
        self._secrets = _named_secrets(seen.text)
        # Those that are new to this text count as seen as they are when it is taken up.
        self._seen = _Seen(text=seen.text, problem=None, secrets=_digests(self._secrets))
        await self._reload(seen.text)

    def _read(self) -> _Seen:
        secrets = _digests(self._secrets)
        try:
            if self._path.exists() and not self._path.is_file():
                # Reading a pipe would wait for whoever writes to it.
                return _Seen(text=None, problem=f"{self._path} is no regular file", secrets=secrets)
            return _Seen(text=read_config(self._path), problem=None, secrets=secrets)
        except ConfigUnreadable as error:
            return _Seen(text=None, problem=str(error), secrets=secrets)

    def _files(self) -> tuple[Path, ...]:
        return (self._path, *self._secrets)


def _named_secrets(text: bytes) -> tuple[Path, ...]:
    """Also those that cannot be read yet: when they appear, a config that was refused for them is right."""
    try:
        config = load(text, SETTINGS).config
    except ConfigError:
        return ()
    keys = () if config.keys_file is None else (Path(config.keys_file),)
    return (*secret_files(config), *keys)


def _digests(files: Iterable[Path]) -> tuple[tuple[Path, bytes | None], ...]:
    return tuple((file, _digest(file)) for file in files)


def _digest(file: Path) -> bytes | None:
    """Of what a secret file holds; None when it cannot be read. The secret itself is not kept.

    A larger file, which can only be one of keys, is known by when it was written: it is looked at twice a second.
    """
    try:
        if not file.is_file():
            return None
        status = file.stat()
        if status.st_size > _LARGEST_SECRET:
            return f"{status.st_ino} {status.st_size} {status.st_mtime_ns}".encode()
        with file.open("rb") as stream:
            return hashlib.sha256(stream.read(_LARGEST_SECRET)).digest()
    except (OSError, ValueError):
        return None


def _directories(files: Iterable[Path]) -> frozenset[tuple[Path, int]]:
    """The directories in which a change can mean another content, each with its inode: one made anew is another."""
    found = set()
    for file in files:
        for directory in _on_the_way(file):
            with contextlib.suppress(OSError):
                found.add((directory, directory.stat().st_ino))
    return frozenset(found)


def _on_the_way(file: Path) -> set[Path]:
    """The directory of the file and, through every symbolic link on its path, those of the links' targets.

    Where a directory does not exist, the nearest one above it does, and tells when it is made.
    """
    directories: set[Path] = set()
    pending = [Path.cwd() / file]
    for _ in range(_MOST_LINKS):
        if not pending:
            break
        path = pending.pop()
        directories.add(_existing(path.parent))
        for part in (path, *path.parents):
            if part.is_symlink():
                directories.add(_existing(part.parent))
                target = part.parent / part.readlink()
                pending.append(target / path.relative_to(part))
                break
    return directories


def _existing(directory: Path) -> Path:
    return next((place for place in (directory, *directory.parents) if place.is_dir()), directory)
