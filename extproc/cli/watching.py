"""Keeps what serves in step with the configuration's file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Final, Protocol

from extproc.cli.source import Source
from extproc.exchange.snapshot import Snapshot
from extproc.server.history import History
from extproc.server.logs import log_to_standard_error
from extproc.server.watch import Watcher

_LOG: Final = logging.getLogger(__name__)
_PAUSE_SECONDS: Final = 1.0


class Reloadable(Protocol):
    """The supervisor of ``kortex run``, or the processor of ``kortex serve``."""

    history: History

    @property
    def snapshot(self) -> Snapshot:
        """What new requests are served by."""

    async def reload(self, text: bytes) -> None:
        """Serve another config, or say why not in log and history."""


@contextlib.asynccontextmanager
async def watching(source: Source, served: Reloadable) -> AsyncIterator[None]:
    """Inside the block, a saved file takes effect. Nothing is watched where there is no file."""
    if source.watchable is None:
        yield
        return

    async def reload(text: bytes) -> None:
        await served.reload(text)
        log_to_standard_error(served.snapshot.config.gateway.log_level)

    def refuse(problem: str) -> None:
        _LOG.error("config not reloaded, number %d stays in force: %s", served.history.number, problem)
        served.history.refuse(problem)

    watcher = Watcher(source.watchable, source.text, reload=reload, refuse=refuse)
    task = asyncio.create_task(_run(watcher))
    try:
        yield
    finally:
        watcher.stop()
        await task


async def _run(watcher: Watcher) -> None:
    while True:
        try:
            return await watcher.run()
        except Exception:  # noqa: BLE001 - a task's root: what serves goes on serving, and the next save is noticed
            _LOG.exception("the configuration could not be taken up")
            await asyncio.sleep(_PAUSE_SECONDS)
