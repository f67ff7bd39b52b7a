"""How a process that serves requests collects its garbage."""

from __future__ import annotations

import gc
from typing import Final

# A parsed body of a few megabytes makes a million objects, none of them garbage: at the default of 700 the collector
# would go through all of them a thousand times over while they are made.
_YOUNG_OBJECTS: Final = 50_000


def settle_memory() -> None:
    """Call once all modules are imported: they stay, so the collector need not look at them again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)
