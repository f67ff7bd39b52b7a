"""``kortex run`` (or ``serve``) as a process of its own on free ports, for tests that look at it from outside.

    with KortexProcess(config) as kortex:
        httpx.post(f"{kortex.base_url}/chat/completions", json=...)
        kortex.reload(other_config)

Start takes a second or two. Nothing is shared between two of them, so that tests may run beside each other.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 60.0
END_SECONDS: Final = 15.0
FREE_PORT: Final = "127.0.0.1:0"

_GATEWAY: Final = re.compile(r"^\s*gateway\s+(http://\S+)/v1\s*$", re.MULTILINE)
_ADMIN: Final = re.compile(r"\badmin(?:\s+| at )(?:http://)?([\d.]+:\d+)")
_Found = TypeVar("_Found")


class KortexProcess:
    """``config`` is kortex.yaml as text or as a value; None: no file, the environment is the configuration.

    It listens on free ports, whatever the config says; bytes are written just as they are. ``env`` is added to the
    test's own variables, ``arguments`` to the command line. ``config_path`` may be a path of the test's own making;
    ``config`` is written there unless it is None. With ``expect_failure`` the block begins when the process has ended:
    see ``returncode``, ``stdout`` and ``stderr``.
    """

    def __init__(
        self,
        config: str | bytes | Mapping[str, Any] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        workers: int = 1,
        arguments: Sequence[str] = (),
        config_path: Path | None = None,
        expect_failure: bool = False,
    ) -> None:
        self._config = config
        self._environment = dict(env or {})
        self._workers = workers
        self._arguments = tuple(arguments)
        self._expect_failure = expect_failure
        self._folder = tempfile.TemporaryDirectory(prefix="kortex-test-", ignore_cleanup_errors=True)
        self._directory = Path(self._folder.name)
        self._with_file = config is not None or config_path is not None
        self.config_path = config_path or self._directory / "kortex.yaml"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx.Client | None = None
        self.origin = ""
        self.admin_url = ""

    # ---- life

    def __enter__(self) -> Self:
        if self._config is not None:
            self.write(self._config)
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"what kortex logged last:\n{self.stderr[-4_000:]}")
        self._end()

    def terminate(self) -> None:
        """Ask it to drain and end."""
        self._running().terminate()

    def wait(self, timeout: float = END_SECONDS) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        return self._running().wait(timeout)

    # ---- where it is

    @property
    def base_url(self) -> str:
        """As an OpenAI client wants it: ``http://127.0.0.1:PORT/v1``."""
        return f"{self.origin}/v1"

    @property
    def pid(self) -> int:
        """Of the command itself."""
        return self._running().pid

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._running().poll()

    @property
    def worker_pids(self) -> list[int]:
        """Of the workers that live now."""
        return [pid for pid, command in self._children() if "extproc.server.child" in command]

    @property
    def envoy_pid(self) -> int:
        """Of its Envoy."""
        return next(pid for pid, command in self._children() if "--disable-hot-restart" in command)

    @property
    def run_directory(self) -> Path:
        """Where it keeps its sockets and Envoy's files."""
        command = next(command for _, command in self._children() if "--disable-hot-restart" in command)
        return Path(command.partition(" -c ")[2].split(" ")[0]).parent

    # ---- what it says

    @property
    def stdout(self) -> str:
        """The banner, then the access log."""
        return self._read("stdout")

    @property
    def stderr(self) -> str:
        """The log."""
        return self._read("stderr")

    @property
    def access_log(self) -> list[dict[str, Any]]:
        """Its lines so far."""
        # A line may just be being written.
        whole = self.stdout.rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def logged(self, reply: httpx.Response) -> list[dict[str, Any]]:
        """The access log's lines for one request, so far."""
        return [line for line in self.access_log if line["request_id"] == reply.headers["x-request-id"]]

    def described(self) -> Any:
        """What ``/config`` says."""
        return self._admin("/config").json()

    def ready(self) -> bool:
        """What ``/readyz`` says."""
        return self._admin("/readyz").status_code == 200

    def readiness(self) -> Any:
        """All that ``/readyz`` says."""
        return self._admin("/readyz").json()

    def metrics(self) -> dict[str, float]:
        """What ``/metrics`` says, such as ``{'kortex_attempts_total{backend="a",outcome="answered"}': 1.0}``."""
        lines = [line for line in self._admin("/metrics").text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    # ---- what is done to it

    def write(self, config: str | bytes | Mapping[str, Any]) -> None:
        """Save another configuration, as an editor that renames does; it takes effect a moment later."""
        aside = self.config_path.with_name(f".{self.config_path.name}.aside")
        aside.write_bytes(_content(config))
        aside.replace(self.config_path)

    def reload(self, config: str | bytes | Mapping[str, Any]) -> None:
        """Save another configuration and wait until it serves. Raises AssertionError when it is refused."""
        before = self.described()
        self.write(config)
        after = self.until(lambda: _newer(self.described(), before), "the new configuration is taken or refused")
        assert after["reloads"]["accepted"] > before["reloads"]["accepted"], after["lastError"]

    def until(self, look: Callable[[], _Found | None], what: str, *, timeout: float = 30.0) -> _Found:
        """The first thing that ``look`` gives and that is true. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while True:
            with contextlib.suppress(httpx.TransportError):
                if found := look():
                    return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {timeout} s in vain until {what}")
            time.sleep(0.02)

    # ---- inside

    def _start(self) -> None:
        file = ("--config", str(self.config_path)) if self._with_file else ()
        addresses = {"KORTEX_LISTEN": FREE_PORT, "KORTEX_ADMIN": FREE_PORT}
        with (self._directory / "stdout").open("wb") as stdout, (self._directory / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "extproc.cli.main", "run", "--workers", str(self._workers)),
                    *file,
                    *self._arguments,
                ],
                # What it keeps where it runs, such as the counters of limits and budgets, is this gateway's alone.
                cwd=self._directory,
                env={**os.environ, "PYTHONPATH": str(ROOT), **addresses, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        if self._expect_failure:
            self._process.wait(START_SECONDS)
            return
        self.until(self._started, "kortex serves", timeout=START_SECONDS)
        self._client = httpx.Client(base_url=self.admin_url, trust_env=False, timeout=10.0)

    def _started(self) -> bool:
        if self.returncode is not None:
            raise RuntimeError(f"kortex ended with code {self.returncode}: {self.stderr}")
        said = self.stdout
        gateway, admin = _GATEWAY.search(said), _ADMIN.search(said)
        if gateway is None or admin is None or "curl " not in said:
            return False
        self.origin, self.admin_url = gateway[1], f"http://{admin[1]}"
        return True

    def _end(self) -> None:
        """In order where it can, else by force. The workers and Envoy end with the process that started them."""
        if self._client is not None:
            self._client.close()
        if self._process is not None and self._process.poll() is None:
            for step in (self._process.terminate, self._process.terminate, self._kill):
                step()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(END_SECONDS / 3)
                    break
        self._folder.cleanup()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._running().pid, signal.SIGKILL)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("kortex has not been started")
        return self._process

    def _admin(self, path: str) -> httpx.Response:
        if self._client is None:
            raise RuntimeError("kortex has not been started")
        return self._client.get(path)

    def _read(self, name: str) -> str:
        return (self._directory / name).read_text("utf-8", "replace")

    def _children(self) -> list[tuple[int, str]]:
        return [(pid, command) for pid, parent, command in _processes() if parent == self.pid]


def _processes() -> Iterator[tuple[int, int, str]]:
    """(pid, pid of the parent, command line) of every process."""
    if not Path("/proc/self/stat").is_file():
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
        for line in listed.stdout.splitlines():
            pid, parent, command = line.split(None, 2)
            yield int(pid), int(parent), command
        return
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            parent = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            yield int(folder.name), int(parent), command


def _content(config: str | bytes | Mapping[str, Any]) -> bytes:
    if isinstance(config, bytes):
        return config
    value = yaml.safe_load(config) if isinstance(config, str) else config
    gateway = {**value.get("gateway", {}), "listen": FREE_PORT, "admin": FREE_PORT}
    return yaml.safe_dump({**value, "gateway": gateway}, sort_keys=False).encode()


def _newer(described: Any, before: Any) -> Any:
    return described if described["reloads"] != before["reloads"] else None
