"""Standard output that takes all it is given, however slowly it is read, and ends the command when nobody reads on."""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import sys
from collections.abc import Iterator

import typer

from extproc.cli.signals import SIGNALLED


@contextlib.contextmanager
def whole_output() -> Iterator[None]:
    """Inside the block, ``sys.stdout`` is such a one, where it is a file, a pipe or a terminal at all."""
    before = sys.stdout
    try:
        descriptor = before.fileno()
    except (AttributeError, OSError):  # closed, or a test's
        yield
        return
    before.flush()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Whole(descriptor, "wb", closefd=False)),
        encoding=before.encoding,
        errors=before.errors,
        line_buffering=before.isatty(),
    )
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        finally:
            sys.stdout = before


class _Whole(io.FileIO):
    """Writes everything, or raises typer.Exit as SIGPIPE would have ended the process.

    A full pipe takes a part: where another process has made it non-blocking, and in the moment after uvloop has closed
    its io_uring, when the kernel interrupts what the thread waits for. Python looks at how much was taken only in a
    buffer, which PYTHONUNBUFFERED takes away: https://github.com/python/cpython/issues/85393
    """

    _deserted = False

    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override] # all that a BufferedWriter hands on
        left = memoryview(data).cast("B")
        size = len(left)
        while left and not self._deserted:
            try:
                left = left[os.write(self.fileno(), left) :]
            except BlockingIOError:
                select.select((), (self,), ())
            except BrokenPipeError:
                # What is still buffered is flushed once more when the process ends.
                self._deserted = True
                raise typer.Exit(SIGNALLED + signal.SIGPIPE) from None
        return size
