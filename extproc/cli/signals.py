"""SIGTERM and SIGINT: the first asks for an end in order, the second for one at once."""

from __future__ import annotations

import asyncio
import signal
from typing import Final

SIGNALLED: Final = 128
"""Plus the signal's number: the exit code of a process that a signal ended."""

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Made inside the running loop. ``first`` and ``second`` are done, with the signal's number, when they have come."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.first: asyncio.Future[int] = self._loop.create_future()
        self.second: asyncio.Future[int] = self._loop.create_future()
        for number in _STOPPING:
            self._loop.add_signal_handler(number, self._came, number)

    def _came(self, number: int) -> None:
        waiting = self.second if self.first.done() else self.first
        if not waiting.done():
            waiting.set_result(number)
