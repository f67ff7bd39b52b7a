"""The ledger's database, as a command is told of it: by a configuration, or by its URL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from pydantic import ValidationError

from extproc.cli.console import Failed, failures_told, name_of
from extproc.config.ledger import Ledger
from extproc.config.load import load
from extproc.credentials.secrets import SecretUnavailable
from extproc.ledger.question import LedgerUnavailable
from extproc.providers.registry import SETTINGS
from extproc.server.watch import read_config

if TYPE_CHECKING:
    from extproc.ledger.database import Database


@contextmanager
def asked(config: Path | None, url: str | None) -> Iterator[Database]:
    """Inside the block, the database; what goes wrong is told and ends the command."""
    from extproc.server.bookkeeping import open_database

    with failures_told(name_of(config)):
        try:
            database = open_database(_settings(config, url), os.environ)
            try:
                _require(database)
                yield database
            finally:
                database.close()
        except (LedgerUnavailable, SecretUnavailable) as error:
            raise Failed(str(error)) from error


def _require(database: Database) -> None:
    """Raises LedgerUnavailable when there is none: a name that was mistyped must not look like a quiet month."""
    from sqlalchemy.exc import SQLAlchemyError

    from extproc.ledger.database import reason

    try:
        there = database.exists()
    except SQLAlchemyError as error:
        raise LedgerUnavailable(f"the ledger {database.name} cannot be read: {reason(error)}") from error
    if not there:
        raise LedgerUnavailable(f"there is no ledger at {database.place}: no gateway has recorded anything there")


def _settings(config: Path | None, url: str | None) -> Ledger:
    if url is not None:
        try:
            return Ledger(url=url)
        except ValidationError as error:
            message = error.errors(include_input=False, include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise typer.BadParameter(message, param_hint="--ledger") from None
    if config is None:
        raise typer.BadParameter("say which ledger: --config kortex.yaml, or --ledger URL")
    ledger = load(read_config(config), SETTINGS).config.ledger
    if ledger is None:
        raise Failed(f"{config} keeps no ledger: add one under ledger")
    return ledger
