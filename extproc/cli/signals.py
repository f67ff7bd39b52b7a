"""SIGTERM and SIGINT: the first asks for an end in order, the second for one at once."""

from __future__ import annotations

import asyncio
import signal
from typing import Any, Final

SIGNALLED: Final = 128
"""Plus the signal's number: the exit code of a process that a signal ended."""

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Made inside the running loop. ``first`` and ``second`` are done when they have come, with the signal's number."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.first: asyncio.Future[int] = self._loop.create_future()
        self.second: asyncio.Future[int] = self._loop.create_future()
        for number in _STOPPING:
            self._loop.add_signal_handler(number, self._came, number)

    def release(self) -> None:
        """From here on they end the process as they end any other. A handler of uvloop's outlives the loop and swallows

        them: nothing would end a process that waits for the reader of its output.
        """
        for number in _STOPPING:
            self._loop.remove_signal_handler(number)

    def _came(self, number: int) -> None:
        waiting = self.second if self.first.done() else self.first
        if not waiting.done():
            waiting.set_result(number)


async def first_of(*futures: asyncio.Future[Any]) -> None:
    """Returns when one of them is done; none is cancelled, and no exception is raised."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
