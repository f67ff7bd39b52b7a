"""Where one run keeps its sockets, Envoy's files and the workers' counters."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LONGEST_SOCKET_PATH: Final = 100
"""Bytes; systems allow 103 to 107."""
_LONGEST_NAME: Final = "kortex-abcdefgh/worker-1023.sock"
_SHORT: Final = "/tmp"  # noqa: S108 - where the directory itself is made under a name that nobody can guess


@contextlib.contextmanager
def run_directory() -> Iterator[Path]:
    """Made for this run, open to nobody else, short enough for the paths of sockets, and gone at the end."""
    usual = Path(tempfile.gettempdir())
    fits = len(bytes(usual / _LONGEST_NAME)) <= _LONGEST_SOCKET_PATH
    directory = Path(tempfile.mkdtemp(prefix="kortex-", dir=usual if fits else _SHORT))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
