"""``quota.url:`` the file or the server that counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import AfterValidator, Field

from extproc.config.scalars import refuse_password

_SQLITE: Final = "sqlite:///"
_SOCKET: Final = "unix"
_SERVERS: Final = ("redis", "rediss")
_CLUSTERS: Final = ("redis+cluster", "rediss+cluster")
_WATCHED: Final = ("redis+sentinel", "rediss+sentinel")
_ADDRESSES: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:,\[\]]+):[0-9]{1,5}")
_DATABASE: Final = re.compile(r"(/[0-9]*)?")
_FILES: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_SHAPES: Final = (
    "write sqlite:///FILE, unix:///SOCKET, redis://HOST:PORT/NUMBER, redis+cluster://HOST:PORT,HOST:PORT, or "
    "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"
)


def _check_store(url: str) -> str:
    # Never repeated: people write passwords into URLs.
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        return url
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        # A list of addresses has no port of its own, which urlsplit looks for when it is asked for a password.
        has_password = ":" in parts.netloc.rpartition("@")[0] or "password" in query
        valid = _is_store(parts)
    except ValueError:
        raise ValueError(_SHAPES) from None
    if not valid:
        raise ValueError(_SHAPES)
    refuse_password(found=has_password)
    _check_query(parts.scheme, query)
    return url


def _is_store(parts: SplitResult) -> bool:
    """Raises ValueError for a port that is none."""
    if parts.scheme == _SOCKET:
        return not parts.netloc and parts.path.strip("/") != ""
    if parts.scheme in _SERVERS:
        return parts.hostname is not None and parts.port != 0 and _DATABASE.fullmatch(parts.path) is not None
    addresses = parts.netloc.rpartition("@")[2].split(",")
    if not all(map(_ADDRESSES.fullmatch, addresses)):
        return False
    return (parts.scheme in _WATCHED and parts.path.strip("/") != "") or (
        parts.scheme in _CLUSTERS and parts.path in {"", "/", "/0"}
    )


def _check_query(scheme: str, query: Mapping[str, str]) -> None:
    allowed = _FILES if scheme.startswith("rediss") else frozenset()
    if scheme == _SOCKET or scheme in _WATCHED:
        allowed |= {"db"}
    if not query.keys() <= allowed:
        # Neither repeated: "?hunter2" may be a password, too.
        msg = f"after the question mark, {scheme}:// takes {', '.join(sorted(allowed)) or 'nothing'}"
        raise ValueError(msg)
    if not query.get("db", "0").isdecimal():
        msg = "db is the number of a database"
        raise ValueError(msg)


QuotaUrl = Annotated[
    str,
    AfterValidator(_check_store),
    Field(examples=["sqlite:///kortex-quota.db", "redis://redis.internal:6379/0"]),
]
"""SQLite's file or a Redis server, without a password."""
