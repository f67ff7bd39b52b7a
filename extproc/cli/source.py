"""Where the configuration of a run comes from: a file, or the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from extproc.bootstrap.system_roots import find_system_roots
from extproc.cli.console import name_of
from extproc.config.load import ConfigError, load
from extproc.providers.registry import SETTINGS
from extproc.server.watch import read_config
from extproc.server.zero_config import configure_from_environment

_USUAL: Final = Path("kortex.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A configuration's text, and what the banner says about it. ``path`` is None when there is no file."""

    text: bytes
    path: Path | None
    sources: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return name_of(self.path)

    @property
    def watchable(self) -> Path | None:
        """The file, where it may change: a pipe such as /dev/stdin is read once."""
        return self.path if self.path is not None and self.path.is_file() else None


def _doubts(text: bytes) -> tuple[str, ...]:
    """What in a usable text is hardly meant. What is wrong with an unusable one is told by whoever uses it."""
    try:
        return tuple(warning.alone for warning in load(text, SETTINGS).warnings)
    except ConfigError:
        return ()


async def find_source(config: Path | None) -> Source:
    """Raises ConfigUnreadable for a file that cannot be read."""
    if config is not None:
        text = read_config(config)
        return Source(text=text, path=config, notes=_doubts(text))
    made = await configure_from_environment(os.environ, system_roots=find_system_roots())
    return Source(text=made.text, path=None, sources=made.sources, notes=(*made.notes, *_unread_file()))


def _unread_file() -> tuple[str, ...]:
    """Whoever has written one may think that it is found."""
    return (f"{_USUAL} is here, and was not read: kortex run {_USUAL}",) if _USUAL.is_file() else ()
