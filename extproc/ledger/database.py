"""Connections to the ledger's database, its transactions, and the version of its tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from extproc.ledger.migrations import MIGRATIONS, Step
from extproc.ledger.schema import METADATA, VERSION

_CONNECT_SECONDS: Final = 5
_STATEMENT_SECONDS: Final = 60
_ADVISORY_LOCK: Final = 0x6B6F72746578  # "kortex": writers of several hosts take turns
_SQLITE: Final = "sqlite"


class LedgerTooNew(Exception):
    """The tables were made by a later version of Kortex, which this one must not write to."""


class Database:
    """``url`` as in the configuration, ``password`` beside it. Nothing is connected to before it is needed."""

    def __init__(self, url: str, password: str | None = None) -> None:
        self._url = _with_driver(make_url(url), password)
        self.embedded = self._url.get_backend_name() == _SQLITE
        self._engine = _embedded_engine(self._url) if self.embedded else _server_engine(self._url)
        self._prepared_for: int | None = None

    @property
    def name(self) -> str:
        """For messages, without the password."""
        return self._url.render_as_string(hide_password=True)

    @property
    def place(self) -> str:
        """The same, but of a file its whole path, whichever directory it was written for."""
        return str(Path(self._url.database).resolve()) if self.embedded and self._url.database else self.name

    def prepare(self, migrations: Sequence[Step] = MIGRATIONS) -> None:
        """Make the tables, or bring them up to date. Raises LedgerTooNew."""
        if self.embedded and self._url.database:
            # Who called what is for its owner to read; SQLite gives its other files the same permissions.
            file = Path(self._url.database)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
        newest = len(migrations) + 1
        with self.writing() as connection:
            if inspect(connection).has_table(VERSION.name):
                for step in migrations[_version(connection, newest) - 1 :]:
                    step(connection)
                connection.execute(update(VERSION).values(version=newest))
            else:
                METADATA.create_all(connection)
                connection.execute(insert(VERSION).values(version=newest))
        self._prepared_for = newest

    def exists(self) -> bool:
        """Whether anything has been written yet."""
        if self.embedded and not (self._url.database and Path(self._url.database).is_file()):
            return False
        with self.reading() as connection:
            return inspect(connection).has_table(VERSION.name)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, which no other writer's overlaps.

        Raises LedgerTooNew where a later version has brought the tables up to date since ``prepare``.
        """
        with self._engine.connect() as connection, connection.begin():
            if not self.embedded:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            if self._prepared_for is not None:
                _version(connection, self._prepared_for)
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One moment of the database, which nobody waits for."""
        with self._engine.connect().execution_options(kortex_reads=True) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()


def reason(error: Exception) -> str:
    """The first line of what the database said: SQLAlchemy adds the statement and its values."""
    said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(said).splitlines() or [type(said).__name__])[0]


def _version(connection: Connection, newest: int) -> int:
    found: int = connection.execute(select(VERSION.c.version)).scalar_one()
    if found > newest:
        raise LedgerTooNew(f"the ledger has version {found} and this Kortex knows versions up to {newest}")
    return found


def _with_driver(url: URL, password: str | None) -> URL:
    if url.get_backend_name() == _SQLITE:
        return url
    return url.set(drivername="postgresql+psycopg", password=password)


def _server_engine(url: URL) -> Engine:
    import psycopg  # noqa: PLC0415 - not needed for SQLite

    return create_engine(
        url,
        module=psycopg,
        pool_pre_ping=True,
        pool_size=2,
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            "options": f"-c statement_timeout={_STATEMENT_SECONDS}s",
        },
    )


def _embedded_engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _CONNECT_SECONDS})

    @event.listens_for(engine, "connect")
    def _settle(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver's own idea of when a transaction begins is not ours
        # A segment is removed when its records are committed: they must be on the disk by then.
        connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#serializable-isolation-savepoints-transactional-ddl
        reads = connection.get_execution_options().get("kortex_reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
