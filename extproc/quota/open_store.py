"""From ``quota.url`` to the store that it names."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from extproc.config.limits import Quota
from extproc.quota.embedded import EmbeddedStore
from extproc.quota.store import QuotaStore

_SQLITE: Final = "sqlite:///"
DEFAULT_URL: Final = f"{_SQLITE}kortex-quota.db"


def open_store(quota: Quota, password: Callable[[], str | None]) -> QuotaStore:
    """``password`` gives that of the server, as it is now. Raises StoreUnavailable for a file that cannot be used."""
    url = quota.url or DEFAULT_URL
    if url.startswith(_SQLITE):
        return EmbeddedStore(Path(url.removeprefix(_SQLITE)), time.time)
    from extproc.quota.redis_store import RedisStore  # noqa: PLC0415 - only where there is one: it takes 0.1 s to import

    return RedisStore(url, password=password, prefix=quota.prefix, timeout=quota.timeout / 1_000)
