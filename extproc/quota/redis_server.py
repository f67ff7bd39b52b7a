"""Which Redis server counts: the one at an address, the master that sentinels name, or our keys' owner in a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import AbstractConnection, ConnectionPool, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

_CLUSTER: Final = "+cluster"
_SENTINEL: Final = "+sentinel"


class Server(Protocol):
    """Nobody is reached for before there is something to count. All but ``close`` take as long as they are let."""

    async def connect(self) -> AbstractConnection:
        """A new connection to whoever is in charge now. Raises RedisError, RedisClusterException and OSError."""

    async def redirect(self, *command: str | int) -> Any:  # noqa: ANN401 - a command's
        """The answer to a command that the server has sent us away with. Raises as ``connect``."""

    async def close(self) -> None:
        """Let go of all connections but those that ``connect`` has given."""


def find_server(url: str, password: str | None, *, key: str, timeout: float) -> Server:
    """``url`` is as in ``quota.url``; ``key`` is any of ours: they are all in one slot. ``timeout`` is seconds."""
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    user, at, hosts = parts.netloc.rpartition("@")
    addresses = hosts.split(",")
    # The last part of a sentinels' URL is no database.
    path = "" if kind == _SENTINEL[1:] else parts.path
    options: dict[str, Any] = {
        **parse_url(f"{scheme}://{user}{at}{addresses[0]}{path}?{parts.query}"),
        # Every server knows it, and there is less to read.
        "protocol": 2,
        "decode_responses": True,
        "retry": _once(),
    }
    if password is not None:
        options["password"] = password
    if kind == _CLUSTER[1:]:
        return _Cluster(addresses, options, key=key, timeout=timeout)
    # How long an answer may take is the pipeline's to watch: a second clock for each costs as much as the answer.
    options |= {"socket_timeout": None, "socket_connect_timeout": None}
    if kind == _SENTINEL[1:]:
        return _Watched(addresses, parts.path.strip("/"), options, timeout=timeout)
    return _Single(options)


class _Single:
    """At an address, or a socket."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._pool = ConnectionPool(**options)

    async def connect(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call] # as shipped
        await _connect(connection)
        return connection

    async def redirect(self, *_command: str | int) -> Any:  # noqa: ANN401 - a command's
        raise RedisError("the server is one of a cluster: write redis+cluster:// or rediss+cluster://")

    async def close(self) -> None:
        await self._pool.aclose()


class _Watched(_Single):
    """With a name that sentinels know."""

    def __init__(self, addresses: Sequence[str], service: str, options: dict[str, Any], *, timeout: float) -> None:
        secured = {name: value for name, value in options.items() if name.startswith("ssl_")}
        is_secure = options.pop("connection_class", None) is SSLConnection
        # One that is away must leave time to ask the next.
        patience = timeout / (len(addresses) + 1)
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call] # as shipped
            [_address(address) for address in addresses],
            sentinel_kwargs={
                **secured,
                "ssl": is_secure,
                "protocol": 2,
                "retry": _once(),
                "socket_timeout": patience,
                "socket_connect_timeout": patience,
            },
        )
        for name in ("host", "port"):
            options.pop(name, None)
        self._pool = SentinelConnectionPool(service, self._sentinel, ssl=is_secure, **options)  # type: ignore[no-untyped-call] # as shipped

    async def close(self) -> None:
        await super().close()
        await self._sentinel.aclose()


class _Cluster:
    """Where one slot is."""

    def __init__(self, addresses: Sequence[str], options: dict[str, Any], *, key: str, timeout: float) -> None:
        is_secure = options.pop("connection_class", None) is SSLConnection
        for name in ("host", "port", "db"):
            options.pop(name, None)
        # A node that is away must leave time to ask another.
        options |= {"ssl": is_secure, "socket_timeout": timeout / 3, "socket_connect_timeout": timeout / 3}
        self._cluster = RedisCluster(
            startup_nodes=[ClusterNode(*_address(address)) for address in addresses],
            # Whether the rest is there does not matter to us; where it matters to the cluster, it says so itself.
            require_full_coverage=False,
            **options,
        )
        self._key = key
        self._unreached: str | None = None

    async def connect(self) -> AbstractConnection:
        await self._cluster.initialize()
        if self._unreached is not None:
            await self._cluster.nodes_manager.initialize(last_failed_node_name=self._unreached)
        node = self._cluster.get_node_from_key(self._key)
        if node is None:
            raise RedisError("the cluster has nobody for our keys")
        connection: AbstractConnection = node.connection_class(
            **{**node.connection_kwargs, "retry": _once(), "socket_timeout": None}
        )
        self._unreached = node.name
        await _connect(connection)
        self._unreached = None
        return connection

    async def redirect(self, *command: str | int) -> Any:  # noqa: ANN401 - a command's
        return await self._cluster.execute_command(*command)

    async def close(self) -> None:
        await self._cluster.aclose()


async def _connect(connection: AbstractConnection) -> None:
    await connection.connect()  # type: ignore[no-untyped-call] # as shipped


def _once() -> Retry:
    return Retry(NoBackoff(), 0)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
