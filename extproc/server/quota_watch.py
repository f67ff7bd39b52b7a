"""Whether the store of limits and budgets answers: a detail of readiness, for a gateway without it still serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from extproc.exchange.snapshot import Snapshot
from extproc.quota.open_store import open_store
from extproc.quota.store import QuotaStore, StoreUnavailable

_EVERY_SECONDS: Final = 1.0


class QuotaWatch:
    """``problem`` says why it did not answer the last time; None where it did, or where nothing is counted."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self._store: QuotaStore | None = None

    @property
    def degraded(self) -> dict[str, str]:
        """As readiness tells it."""
        return {} if self.problem is None else {"quota": f"limits and budgets cannot be counted: {self.problem}"}

    async def run(self, snapshot: Callable[[], Snapshot]) -> None:
        """Until it is cancelled."""
        try:
            while True:
                await self._look(snapshot())
                await asyncio.sleep(_EVERY_SECONDS)
        finally:
            if self._store is not None:
                await self._store.close()

    async def _look(self, snapshot: Snapshot) -> None:
        if not snapshot.counts:
            self.problem = None
            return
        try:
            if self._store is None:
                self._store = open_store(snapshot.config.quota, snapshot.quota_password)
            await self._store.tend()
        except StoreUnavailable as error:
            self.problem = str(error)
        else:
            self.problem = None
