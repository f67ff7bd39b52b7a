"""The services of docker-compose.yml as processes of this machine: their own commands, with paths and ports moved.

    with LocalServices(folder, config) as services:
        services.up()
        httpx.post(f"{services.base_url}/chat/completions", json=...)

What a container's path is mounted from is copied below ``folder``, and ``localhost`` stands for every other host.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml

from extproc.bootstrap.process import find_envoy
from extproc.bootstrap.system_roots import find_system_roots
from extproc.config.scalars import split_address
from tests.deploy import compose_file, dockerfile

START_SECONDS: Final = 60.0
END_SECONDS: Final = 30.0
ROOT: Final = compose_file.ROOT

_HERE: Final = "127.0.0.1"
_SYSTEM_CA: Final = "/etc/ssl/certs/ca-certificates.crt"
# Below those that the system hands out by itself, so that no other test can be given one meanwhile.
_PORTS: Final = range(20_000, 32_000)


class LocalServices:
    """``config`` is kortex.yaml as a value; its gateway's addresses are moved like everything else.

    ``keys`` are what .env would hold; nothing else of the test's own environment gets through.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], keys: Mapping[str, str]) -> None:
        self._folder = folder
        self._keys = keys
        self._services = compose_file.read()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        extproc, envoy = self._services["extproc"], self._services["envoy"]
        bootstrap = json.loads(self._local(envoy, envoy.option("-c"), of_project=True).read_text(encoding="utf-8"))
        self._admin_port = int(bootstrap["admin"]["address"]["socket_address"]["port_value"])
        named = [port.target for service in self._services.values() for port in service.ports]
        used = [*named, split_address(extproc.option("--listen"))[1], self._admin_port]
        self._ports = dict(zip(used, _free_ports(len(used)), strict=True))
        self._lay_out()
        self._config = self._local(extproc, extproc.option("--config"))
        self.write(config)
        self._local(envoy, envoy.option("-c")).write_text(json.dumps(self._moved(bootstrap)), encoding="utf-8")

    # ---- life

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        for name, process in reversed(self._processes.items()):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if error is not None:
                error.add_note(f"what {name} logged last:\n{self.log(name)[-4_000:]}")

    def up(self) -> None:
        """Start both, in the order that ``depends_on`` asks for."""
        for name in sorted(self._services, key=lambda name: len(self._services[name].raw.get("depends_on", ()))):
            self.start(name)
            self.until(functools.partial(self.healthy, name), f"{name} is healthy", within=START_SECONDS)

    def start(self, name: str) -> None:
        """Start one of them."""
        service = self._services[name]
        entrypoint = service.entrypoint
        if not entrypoint:
            entrypoint = tuple(dockerfile.read()[service.raw["build"]["target"]].command("ENTRYPOINT"))
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self._words(service, [*entrypoint, *service.command]),
                cwd=self._working_directory(service),
                env=self._variables(service),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o022,
            )

    def stop(self, name: str) -> None:
        """As Compose does, first kindly."""
        self._processes[name].send_signal(signal.SIGTERM)

    def wait(self, name: str) -> int:
        """Its exit code."""
        return self._processes[name].wait(END_SECONDS)

    # ---- what they say

    @property
    def base_url(self) -> str:
        """As an OpenAI client wants it."""
        return f"{self.published('envoy')}/v1"

    def published(self, name: str) -> str:
        """Where a service is reached from outside."""
        (port,) = self._services[name].ports
        return f"http://{_HERE}:{self._ports[port.target]}"

    def healthy(self, name: str) -> bool:
        """What its health check says."""
        service = self._services[name]
        words = self._words(service, service.health_check)
        done = subprocess.run(
            words, env=self._variables(service), cwd=ROOT, check=False, capture_output=True, timeout=10
        )
        return done.returncode == 0

    def pid(self, name: str) -> int:
        """Of its first process."""
        return self._processes[name].pid

    def log(self, name: str) -> str:
        """Its output."""
        return (self._folder / f"{name}.log").read_text("utf-8", "replace")

    def volume(self, name: str) -> Path:
        """The folder in place of a named volume."""
        return self._folder / name

    def until(self, look: Callable[[], bool], what: str, *, within: float = 10.0) -> None:
        """Until it is true. Raises TimeoutError."""
        deadline = time.monotonic() + within
        while not look():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {within} s in vain until {what}")
            for name, process in self._processes.items():
                if process.poll() not in (None, 0):
                    raise RuntimeError(f"{name} ended with code {process.returncode}")
            time.sleep(0.05)

    # ---- what is done to them

    def write(self, config: Mapping[str, Any]) -> None:
        """Save kortex.yaml as an editor does that renames."""
        aside = self._config.with_name(".kortex.yaml.aside")
        aside.write_text(yaml.safe_dump(self._moved({**config}), sort_keys=False), encoding="utf-8")
        aside.replace(self._config)

    # ---- from the containers to this machine

    def _lay_out(self) -> None:
        """What is mounted, and ``envoy`` where a shell finds it."""
        for mount in {mount.source: mount for service in self._services.values() for mount in service.mounts}.values():
            target = self._folder / mount.source
            if mount.host_path is None or mount.host_path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            if mount.host_path is None:
                continue
            if mount.host_path.is_dir():
                shutil.copytree(mount.host_path, target, dirs_exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(mount.host_path, target)
        programs = self._folder / "bin"
        programs.mkdir()
        (programs / "envoy").symlink_to(find_envoy(None))

    def _local(self, service: compose_file.Service, path: str, *, of_project: bool = False) -> Path:
        """The file or folder in place of one in the container, or that of the project which it is copied from."""
        mount = service.mount_at(path)
        return (ROOT if of_project else self._folder) / mount.source / Path(path).relative_to(mount.target)

    def _working_directory(self, service: compose_file.Service) -> Path:
        """Relative paths of the configuration begin there."""
        if "build" not in service.raw:
            return ROOT
        return self._local(service, dockerfile.read()[service.raw["build"]["target"]].last("WORKDIR"))

    def _words(self, service: compose_file.Service, words: Sequence[str]) -> list[str]:
        programs = {"kortex": [sys.executable, "-m", "extproc.cli.main"], "python": [sys.executable]}
        first, *others = words
        return [*programs.get(first, [first]), *(self._word(service, word) for word in others)]

    def _word(self, service: compose_file.Service, word: str) -> str:
        if any(word == mount.target or word.startswith(f"{mount.target}/") for mount in service.mounts):
            return str(self._local(service, word))
        return self._text(word)

    def _moved(self, value: Any) -> Any:
        """A document in which every address and path is one of this machine."""
        match value:
            case {"address": str(), "port_value": int(port)}:
                return {**value, "address": _HERE, "port_value": self._ports[port]}
            case dict():
                return {key: self._moved(part) for key, part in value.items()}
            case list():
                return [self._moved(part) for part in value]
            case str():
                return find_system_roots() if value == _SYSTEM_CA else self._word(self._services["envoy"], value)
            case _:
                return value

    def _text(self, text: str) -> str:
        for port, moved in self._ports.items():
            text = re.sub(rf"\b0\.0\.0\.0:{port}\b", f"{_HERE}:{moved}", text)
            text = text.replace(f"'{_HERE}', {port},", f"'{_HERE}', {moved},")
        return text

    def _variables(self, service: compose_file.Service) -> dict[str, str]:
        keys = self._keys if service.has_keys else {}
        programs = f"{self._folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": programs, "ADMIN_PORT": str(self._ports[self._admin_port]), **keys}


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as bound:
        found: list[int] = []
        while len(found) < count:
            taking = bound.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                taking.bind((_HERE, random.choice(_PORTS)))
                found.append(taking.getsockname()[1])
        return found
