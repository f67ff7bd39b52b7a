"""What requests have used, on its way to the store: one batch after the other, each until it is known to be booked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from extproc.admission.charge import Settlement
from extproc.quota.batch import Batch
from extproc.quota.store import QuotaStore, StoreUnavailable

_LOG: Final = logging.getLogger(__name__)
_LONGEST_QUEUE: Final = 100_000
_RETRY_SECONDS: Final = 0.2


class Bookings:
    """No task waits for them: waking one, twice for every request, would cost more than booking does.

    ``named`` gives a name that no other batch has. ``away`` is told that the store cannot be reached, ``lost`` how many
    settlements were given up.
    """

    def __init__(
        self,
        store: QuotaStore,
        named: Callable[[], str],
        *,
        away: Callable[[StoreUnavailable], None],
        lost: Callable[[int], None],
    ) -> None:
        self._store = store
        self._named = named
        self._away = away
        self._lost = lost
        self._waiting: deque[Settlement] = deque()
        self._sent: Batch | None = None
        self._under_way: asyncio.Future[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._is_ending = False

    def add(self, settlement: Settlement) -> None:
        """Book it soon."""
        if len(self._waiting) >= _LONGEST_QUEUE:
            self._waiting.popleft()
            self._lost(1)
        self._waiting.append(settlement)
        if self._sent is None and not self._is_ending:
            self._send()

    async def finish(self) -> None:
        """Book what is left, if the store can be reached."""
        self._is_ending = True
        if self._again is not None:
            self._again.cancel()
        if self._under_way is not None and not self._under_way.done():
            self._under_way.cancel()
            await asyncio.wait([self._under_way])
        with contextlib.suppress(StoreUnavailable):
            while self._sent is not None or self._waiting:
                batch = self._batch()
                await self._store.settle(batch.name, batch)
                self._sent = None

    def _batch(self) -> Batch:
        """Until it is known to be booked, it stays the same."""
        if self._sent is None:
            self._sent = Batch(self._named(), self._waiting)
        return self._sent

    def _send(self) -> None:
        batch = self._batch()
        self._under_way = asyncio.ensure_future(self._store.settle(batch.name, batch))
        self._under_way.add_done_callback(self._came_back)

    def _came_back(self, answer: asyncio.Future[None]) -> None:
        if answer.cancelled():
            return
        error = answer.exception()
        if isinstance(error, StoreUnavailable):
            self._away(error)
            if not self._is_ending:
                self._again = asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._send)
            return
        if error is not None:
            # What cannot be booked, for whatever reason, must not keep all that comes after it from being booked.
            count = len(self._batch())
            _LOG.error("%d settlements cannot be booked; their reservations will expire", count, exc_info=error)
            self._lost(count)
        self._sent = None
        if self._waiting and not self._is_ending:
            self._send()
