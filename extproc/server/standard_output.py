"""Where the access log goes."""

from __future__ import annotations

import sys


def write_line(line: bytes) -> None:
    """A whole line at once, so that those of several workers do not mix."""
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
