"""The ledger of a run, where the configuration asks for one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from extproc.config.gateway import Config

if TYPE_CHECKING:
    from extproc.server.bookkeeping import Bookkeeping


@asynccontextmanager
async def bookkeeping(config: Config) -> AsyncIterator[Bookkeeping | None]:
    """Inside the block, what the workers spool is booked. SQLAlchemy takes its time, and only who needs it waits."""
    if config.ledger is None:
        yield None
        return
    from extproc.server.bookkeeping import Bookkeeping

    ledger = Bookkeeping(config.ledger, os.environ)
    async with ledger.keeping():
        yield ledger
