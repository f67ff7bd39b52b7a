"""Where gRPC's core waits for its connections: an epoll, whose file tells when there is something in it to be read.

A file of an epoll can be watched by another one, and is readable while it has anything to tell:
https://man7.org/linux/man-pages/man7/epoll.7.html. The core does not say which one is its own; Linux does.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

_FILES: Final = Path("/proc/self/fd")
_DETAILS: Final = Path("/proc/self/fdinfo")
_EPOLL: Final = "anon_inode:[eventpoll]"
_SOCKET: Final = "socket:"
_WATCHED: Final = "tfd:"


def listening_sockets() -> frozenset[int]:
    """Of this process. None where no ``/proc`` tells."""
    return frozenset(number for number, kind in _files() if kind.startswith(_SOCKET) and _listens(number))


def epoll_that_watches(sockets: Collection[int]) -> int | None:
    """A duplicate of it, to be closed by the caller: the core closes its own when it has nothing to serve."""
    for number, kind in _files():
        if kind == _EPOLL and not _watched(number).isdisjoint(sockets):
            return os.dup(number)
    return None


def _files() -> Iterator[tuple[int, str]]:
    """The open ones and their kinds."""
    for file in list(_FILES.iterdir()) if _FILES.exists() else ():
        try:
            yield int(file.name), str(file.readlink())
        except FileNotFoundError:  # the one that was open to list them
            continue


def _listens(number: int) -> bool:
    with socket.socket(fileno=os.dup(number)) as one:
        return one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def _watched(number: int) -> frozenset[int]:
    details = (_DETAILS / str(number)).read_text(encoding="ascii")
    return frozenset(int(line.split()[1]) for line in details.splitlines() if line.startswith(_WATCHED))
