"""A secret that cannot be shown by accident, and reading one from where the configuration says it is."""

from __future__ import annotations

import hmac
import stat
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

from pydantic import BaseModel

from extproc.config.gateway import Config
from extproc.config.problems import quoted
from extproc.config.scalars import SecretRef

_LARGEST: Final = 64 << 10
_LONGEST_PATH: Final = 4096
_HIDDEN: Final = "***"


FilesRead: TypeAlias = MutableMapping[str, bytes]
"""By path, what the files beside a config held when they were read for it. What is in it is not read again."""


class SecretUnavailable(Exception):
    """A secret cannot be had. The message names its variable or file and never repeats what was found there."""


class Secret:
    """A secret value: ``reveal()`` gives it, everything else gives ``***``.

    No dataclass, because ``asdict`` and JSON encoders look inside those. It can be neither changed, copied nor pickled.
    """

    __slots__ = ("_value",)
    _value: str

    def __init__(self, value: str) -> None:
        object.__setattr__(self, "_value", value)

    def reveal(self) -> str:
        """The secret itself: for the header that carries it, and for nothing else."""
        return self._value

    def __repr__(self) -> str:
        return _HIDDEN

    def __format__(self, specification: str) -> str:
        return format(_HIDDEN, specification)

    def __eq__(self, other: object) -> bool:
        """In a time that does not depend on how much of them is equal."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        msg = "a secret cannot be changed"
        raise AttributeError(msg)

    def __reduce__(self) -> NoReturn:
        msg = "a secret cannot be copied or pickled"
        raise TypeError(msg)


def read_secret(ref: SecretRef, environment: Mapping[str, str], files: FilesRead | None = None) -> Secret:
    """What a reference names, without the white space around it. A file that is read is added to ``files``.

    Raises SecretUnavailable when it is missing, unreadable, empty, no regular file, over 64 KiB, not UTF-8, or holds a
    character that does not print, a line break above all: in a header that would begin another one.
    """
    where = place_of(ref)
    if ref.env is not None:
        text = environment.get(ref.env)
        if text is None:
            raise SecretUnavailable(f"{where} is not set")
    else:
        path = str(ref.file)
        content = None if files is None else files.get(path)
        if content is None:
            content = _read(Path(path), where)
        text = _decode(content, where)
        if files is not None:
            files[path] = content
    value = text.strip()
    if not value:
        raise SecretUnavailable(f"{where} is empty")
    if not value.isprintable():
        raise SecretUnavailable(f"{where} holds a line break or another character that does not print")
    return Secret(value)


def place_of(ref: SecretRef) -> str:
    """Where it is, for messages."""
    if ref.env is not None:
        return f"the environment variable {ref.env}"
    return f"the file {quoted(str(ref.file), longest=_LONGEST_PATH)}"


def secret_files(config: Config) -> tuple[Path, ...]:
    """Every file that a secret of the configuration is read from, for watching them."""
    return tuple(sorted({Path(ref.file) for ref in _references(config) if ref.file is not None}))


def _read(path: Path, where: str) -> bytes:
    try:
        return _bounded(path, where)
    except FileNotFoundError:
        raise SecretUnavailable(f"{where} does not exist") from None
    except OSError as error:
        raise SecretUnavailable(f"{where} cannot be read: {error.strerror}") from None
    except ValueError:
        raise SecretUnavailable(f"{where} cannot exist: its name holds a null character") from None


def _bounded(path: Path, where: str) -> bytes:
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind):
        # A pipe would block here until somebody writes to it, again at every reload.
        raise SecretUnavailable(f"{where} is {'a directory' if stat.S_ISDIR(kind) else 'no regular file'}")
    with path.open("rb") as stream:
        content = stream.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise SecretUnavailable(f"{where} is larger than {_LARGEST >> 10} KiB")
    return content


def _decode(content: bytes, where: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SecretUnavailable(f"{where} is not UTF-8 text") from None  # the original error carries the content


def _references(value: object) -> Iterator[SecretRef]:
    match value:
        case SecretRef():
            yield value
        case BaseModel():
            for _, part in value:
                yield from _references(part)
        case dict():
            for part in value.values():
                yield from _references(part)
        case tuple():
            for part in value:
                yield from _references(part)
