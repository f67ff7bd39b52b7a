"""``quota.url:`` the file or the server that counts."""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field

_SQLITE: Final = "sqlite:///"
_SOCKET: Final = "unix"
_SERVERS: Final = ("redis", "rediss", "redis+cluster", "rediss+cluster")
_WATCHED: Final = ("redis+sentinel", "rediss+sentinel")
_ADDRESSES: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:,\[\]]+):[0-9]{1,5}")
_DATABASE: Final = re.compile(r"(/[0-9]*)?")


def _check_store(url: str) -> str:
    # Never repeated: people write passwords into URLs.
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        return url
    try:
        parts = urlsplit(url)
        has_password = parts.password is not None or "password" in dict(parse_qsl(parts.query))
        if parts.scheme == _SOCKET:
            valid = not parts.netloc and parts.path.strip("/") != ""
        elif parts.scheme in _WATCHED:
            addresses = parts.netloc.rpartition("@")[2].split(",")
            valid = all(map(_ADDRESSES.fullmatch, addresses)) and parts.path.strip("/") != ""
        else:
            named = parts.hostname is not None and parts.port != 0
            valid = parts.scheme in _SERVERS and named and _DATABASE.fullmatch(parts.path) is not None
    except ValueError:
        valid = has_password = False
    if not valid:
        msg = "write sqlite:///FILE, redis://HOST:PORT/NUMBER, or redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"
        raise ValueError(msg)
    if has_password:
        msg = "a password is never written here: use password: {env: NAME} or {file: PATH} beside the url"
        raise ValueError(msg)
    return url


QuotaUrl = Annotated[
    str,
    AfterValidator(_check_store),
    Field(examples=["sqlite:///kortex-quota.db", "redis://redis.internal:6379/0"]),
]
"""SQLite's file or a Redis server, without a password."""
