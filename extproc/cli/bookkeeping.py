"""The ledger of a run, where the configuration asks for one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from extproc.cli.console import Failed
from extproc.config.gateway import Config
from extproc.ledger.spool import SpoolUnavailable, prepare_spool

if TYPE_CHECKING:
    from extproc.server.bookkeeping import Bookkeeping


@asynccontextmanager
async def bookkeeping(config: Config) -> AsyncIterator[Bookkeeping | None]:
    """Inside the block, what the workers spool is booked. SQLAlchemy takes its time, and only who needs it waits.

    Raises Failed where nothing could be spooled: every record would be lost.
    """
    if config.ledger is None:
        yield None
        return
    try:
        prepare_spool(Path(config.ledger.spool_directory))
    except SpoolUnavailable as error:
        message = f"the ledger has no place for its records: {error}; ledger.spool sets the directory"
        raise Failed(message) from error
    from extproc.server.bookkeeping import Bookkeeping

    ledger = Bookkeeping(config.ledger, os.environ)
    async with ledger.keeping():
        yield ledger
