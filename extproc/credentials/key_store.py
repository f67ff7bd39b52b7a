"""Changes to the file of clients' keys: made, replaced and ended one at a time, and written whole or not at all."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from extproc.admission.keyring import hash_secret, spell_hash
from extproc.config.keys import ClientKey, FormerSecret, parse_moment
from extproc.credentials.key_file import KeyFileInvalid, parse_keys

_MARK: Final = "kx-"
_BYTES: Final = 32
_PRIVATE: Final = stat.S_IRUSR | stat.S_IWUSR


class KeyUnknown(Exception):
    """No key of the file has the name, or one has it already; the message says which."""


def new_secret() -> str:
    """A key as its holder gets it: 256 random bits behind a mark by which scanners of leaked secrets can know it."""
    return _MARK + base64.urlsafe_b64encode(secrets.token_bytes(_BYTES)).rstrip(b"=").decode()


def hash_of(secret: str) -> str:
    """What a config or a file keeps of it."""
    return spell_hash(hash_secret(secret))


def spell_moment(moment: datetime) -> str:
    """As files have it: UTC, whole seconds."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def list_keys(path: Path) -> list[ClientKey]:
    """Raises KeyFileInvalid. No file is no keys."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise KeyFileInvalid(f"{path} cannot be read: {error.strerror or error}") from None
    entries = [entry for _, entry in parse_keys(content)]
    wrong = [entry for entry in entries if isinstance(entry, str)]
    if wrong:
        raise KeyFileInvalid(*wrong)
    return [entry for entry in entries if isinstance(entry, ClientKey)]


def add_key(path: Path, key: ClientKey, *, now: datetime) -> None:
    """Raises KeyUnknown when the name is taken, KeyFileInvalid."""

    def add(keys: list[ClientKey]) -> list[ClientKey]:
        for other in keys:
            if other.name == key.name:
                raise KeyUnknown(f"{path} has a key named {key.name} already{_advice(other, now)}")
        return [*keys, key]

    _change(path, add)


def end_key(path: Path, name: str, *, now: datetime) -> None:
    """It is refused from now on; its line stays, so that records that name it can be read. As ``add_key``."""

    def end(key: ClientKey) -> ClientKey:
        return key.model_copy(update={"expires": spell_moment(now), "previous": ()})

    _change(path, lambda keys: _with(keys, path, name, end))


def rotate_key(path: Path, name: str, secret: str, *, grace: timedelta, now: datetime) -> None:
    """Another secret for the same key; the one before is taken for ``grace`` longer. As ``add_key``."""

    def rotate(key: ClientKey) -> ClientKey:
        if key.hash is None or _is_over(key, now):
            raise KeyUnknown(f"the key {name} has expired or is revoked: create another one, with another name")
        former = [old for old in key.previous if parse_moment(old.expires) > now]
        if grace:
            former.append(FormerSecret(hash=key.hash, expires=spell_moment(now + grace)))
        return key.model_copy(update={"hash": hash_of(secret), "previous": tuple(former)})

    _change(path, lambda keys: _with(keys, path, name, rotate))


def _is_over(key: ClientKey, now: datetime) -> bool:
    return key.expires is not None and parse_moment(key.expires) <= now


def _advice(taken: ClientKey, now: datetime) -> str:
    if _is_over(taken, now):
        return ", expired or revoked, which records still name: choose another name"
    return ": rotate it, or choose another name"


def _with(keys: list[ClientKey], path: Path, name: str, change: Callable[[ClientKey], ClientKey]) -> list[ClientKey]:
    if all(key.name != name for key in keys):
        raise KeyUnknown(f"{path} has no key named {name}")
    return [change(key) if key.name == name else key for key in keys]


def _change(path: Path, change: Callable[[list[ClientKey]], list[ClientKey]]) -> None:
    target = path.resolve()  # a link stays one
    with _alone(target.parent):
        _write(target, change(list_keys(target)))


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Two commands at once must not lose each other's key."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, keys: Sequence[ClientKey]) -> None:
    """Aside, then renamed into place: a reader sees the old file or the new one. Nobody else may read a new file."""
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else _PRIVATE
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), mode)
            for key in keys:
                stream.write(key.model_dump_json(by_alias=True, exclude_defaults=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
