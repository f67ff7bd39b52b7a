"""Can we listen there? Asked before Envoy is started, which would share a port with whoever has it already."""

from __future__ import annotations

import errno
import socket
from typing import Final

from extproc.config.scalars import split_address

_BACKLOG: Final = 128


class AddressUnavailable(Exception):
    """Nothing can listen at an address; the message says which and why."""


def check_free(address: str) -> None:
    """Raises AddressUnavailable when ``host:port`` is taken, not ours to take, or not of this machine."""
    _bind(address).close()


def listen(address: str) -> socket.socket:
    """A socket that listens at ``host:port``; port 0 takes a free one. Raises AddressUnavailable."""
    bound = _bind(address)
    bound.listen(_BACKLOG)
    bound.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return bound


def spell_address(bound: socket.socket) -> str:
    """``host:port`` of a bound socket, an IPv6 host in brackets."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind(address: str) -> socket.socket:
    host, port = split_address(address)
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        message = f"{address}: {host} is no address of this machine"
        raise AddressUnavailable(message) from None
    bound = socket.socket(family, kind, protocol)
    try:
        # Connections of a gateway that has just ended do not count; one that is still listening does.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
    except OSError as error:
        bound.close()
        raise AddressUnavailable(_reason(address, error)) from error
    return bound


def _reason(address: str, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"{address} is in use: another program listens there"
        case errno.EACCES:
            return f"{address} may not be listened on by this user: ports below 1024 need a privilege"
        case errno.EADDRNOTAVAIL:
            return f"{address} is no address of this machine"
        case _:
            return f"cannot listen on {address}: {error.strerror}"
