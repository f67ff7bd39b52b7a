"""Where the access log goes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Final

_LATEST_SECONDS: Final = 0.02
_AT_ONCE: Final = 4096
"""Bytes that Linux writes to a pipe as a whole, so that lines of several workers do not mix."""


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


class StandardOutput:
    """Writes whole lines, several with one system call: one for each line was a quarter of a worker's CPU.

    A line waits 20 ms at most; ``flush`` at the end of the process writes what is left.
    """

    def __init__(self, write: Callable[[bytes], object] = _write) -> None:
        self._write = write
        self._held: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def write_line(self, line: bytes) -> None:
        """Soon. Called on the event loop."""
        if self._size + len(line) > _AT_ONCE:
            self.flush()
        self._held.append(line)
        self._size += len(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LATEST_SECONDS, self.flush)

    def flush(self) -> None:
        """Now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._held, self._size = self._held, [], 0
        if lines:
            self._write(b"".join(lines))
