"""``ledger:`` the record of every request and what it cost, and how long it is kept."""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from extproc.config.scalars import Model, SecretRef, Size, refuse_password

_DAYS: Final = re.compile(r"([0-9]{1,5})d")
_SQLITE: Final = "sqlite:///"
_POSTGRESQL: Final = "postgresql://"


def parse_days(value: object) -> object:
    """``90d`` → 90. Raises ValueError for anything else."""
    found = _DAYS.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        msg = "how long records are kept is a number of days, such as 90d"
        raise ValueError(msg)
    return int(found[1])


def _format_days(days: int) -> str:
    return f"{days}d"


Days = Annotated[
    int,
    BeforeValidator(parse_days),
    Field(ge=1),
    PlainSerializer(_format_days, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,5}d$", "examples": ["90d"]}),
]
"""Whole days; written with a ``d``."""


def _check_database(url: str) -> str:
    # Never repeated: people write passwords into URLs.
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE) and "?" not in url:
        return url
    try:
        parts = urlsplit(url)
        valid = url.startswith(_POSTGRESQL) and parts.hostname and parts.path.strip("/") and parts.port != 0
    except ValueError:
        valid = False
        parts = None
    if not valid or parts is None:
        msg = "write sqlite:///FILE or postgresql://USER@HOST:PORT/DATABASE"
        raise ValueError(msg)
    refuse_password(found=parts.password is not None or "password" in dict(parse_qsl(parts.query)))
    return url


DatabaseUrl = Annotated[
    str,
    AfterValidator(_check_database),
    Field(examples=["sqlite:///usage.db", "postgresql://kortex@db.internal/kortex"]),
]
"""SQLite's file or a PostgreSQL database, without a password."""


class Ledger(Model):
    """What the gateway writes down of each request, never its content."""

    url: DatabaseUrl = "sqlite:///usage.db"
    """The database: SQLite's file, or PostgreSQL, which many hosts can share. TLS as libpq has it: ``?sslmode=…``."""
    password: SecretRef | None = None
    """PostgreSQL's password."""
    spool: str | None = Field(default=None, min_length=1)
    """Directory where records wait for the database. Default: ``FILE.spool``, or ``ledger.spool`` for PostgreSQL."""
    spool_limit: Size = Field(default=1 << 30, ge=64 << 20)
    """How much may wait there. What comes after that is not recorded, and counted."""
    retention: Days = 90
    """How long the records of single requests are kept."""
    summary_retention: Days = 730
    """How long the hourly sums, from which ``kortex usage`` reports, are kept."""

    @model_validator(mode="after")
    def _passwords_are_for_servers(self) -> Ledger:
        if self.password is not None and self.url.startswith(_SQLITE):
            msg = "SQLite has no password: leave it out, or give the url of a PostgreSQL database"
            raise ValueError(msg)
        return self

    @property
    def spool_directory(self) -> str:
        """The directory as it was written, or the default."""
        if self.spool is not None:
            return self.spool
        return f"{self.url.removeprefix(_SQLITE)}.spool" if self.url.startswith(_SQLITE) else "ledger.spool"
