"""docker-compose.yml as values: what Compose would make of it, as far as the tests look at it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
PATH: Final = ROOT / "docker-compose.yml"

_SECONDS: Final = re.compile(r"(\d+)s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """What a container sees at ``target``: a file or folder of the project, or a named volume."""

    source: str
    target: str
    read_only: bool

    @property
    def host_path(self) -> Path | None:
        """None for a named volume."""
        return ROOT / self.source if self.source.startswith("./") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """``interface`` is of the machine; "" is all of them."""

    interface: str
    published: int
    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """``raw`` is the whole entry, anchors resolved; the rest is parts of it."""

    raw: dict[str, Any]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    mounts: tuple[Mount, ...]
    ports: tuple[Port, ...]

    @property
    def health_check(self) -> tuple[str, ...]:
        """The command, without the word that says that it is one."""
        kind, *command = self.raw["healthcheck"]["test"]
        assert kind == "CMD", "a shell is not needed, and not every image has one"
        return tuple(command)

    @property
    def has_keys(self) -> bool:
        """Whether it gets what the operator wrote into .env."""
        return self.raw.get("env_file") == [{"path": ".env", "required": False}]

    @property
    def stop_seconds(self) -> int:
        """How long it has after SIGTERM."""
        return seconds(self.raw["stop_grace_period"])

    def option(self, name: str) -> str:
        """What follows an option on its command line."""
        return self.command[self.command.index(name) + 1]

    def mount_at(self, path: str) -> Mount:
        """The one that holds a path of the container."""
        return next(
            mount for mount in self.mounts if path == mount.target or path.startswith(mount.target.rstrip("/") + "/")
        )


def seconds(text: str) -> int:
    """``35s``."""
    found = _SECONDS.fullmatch(text)
    assert found is not None, f"{text} is not written in seconds"
    return int(found[1])


def read() -> dict[str, Service]:
    """The services by name."""
    document = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return {name: _service(raw, set(document["volumes"])) for name, raw in document["services"].items()}


def _service(raw: dict[str, Any], volumes: set[str]) -> Service:
    return Service(
        raw=raw,
        entrypoint=tuple(raw.get("entrypoint", ())),
        command=tuple(raw["command"]),
        mounts=tuple(_mount(text, volumes) for text in raw["volumes"]),
        ports=tuple(_port(text) for text in raw["ports"]),
    )


def _mount(text: str, volumes: set[str]) -> Mount:
    source, target, *mode = text.split(":")
    assert mode in ([], ["ro"]), text
    assert source.startswith("./") or source in volumes, f"{source} is no declared volume"
    return Mount(source=source, target=target, read_only=mode == ["ro"])


def _port(text: str) -> Port:
    *interface, published, target = text.split(":")
    return Port(interface="".join(interface), published=int(published), target=int(target))
