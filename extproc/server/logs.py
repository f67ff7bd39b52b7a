"""The log of Kortex itself: one line per event on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Final

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"


class _WithRequestId(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        request_id = getattr(record, "request_id", None)
        return line if request_id is None else f"{line} request_id={request_id}"


def log_to_standard_error(level: str) -> None:
    """Set up, or set anew after a reload."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_WithRequestId(_FORMAT))
    root = logging.getLogger("extproc")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(level.upper())
