"""What serves is kept in step with its file, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from extproc.cli.source import Source
from extproc.cli.watching import watching
from extproc.cli.without_secrets import compile_without_secrets
from extproc.config.load import load
from extproc.exchange.snapshot import Snapshot
from extproc.providers.registry import SETTINGS
from extproc.server.history import History

FIRST = b"gateway: {logLevel: info}\n"
SECOND = b"gateway: {logLevel: warning}\n"
POISON = b"gateway: {logLevel: error}\n"
PATIENCE = 10.0


def snapshot(text: bytes) -> Snapshot:
    """A text, compiled."""
    return compile_without_secrets(load(text, SETTINGS).config)


class Served:
    """Takes up any text but one, at which it fails as no code should."""

    def __init__(self) -> None:
        self.snapshot = snapshot(FIRST)
        self.history = History(self.snapshot)
        self.offered: asyncio.Queue[bytes] = asyncio.Queue()

    async def reload(self, text: bytes) -> None:
        self.offered.put_nowait(text)
        if text == POISON:
            raise ZeroDivisionError
        self.snapshot = snapshot(text)

    async def next(self) -> bytes:
        return await asyncio.wait_for(self.offered.get(), PATIENCE)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A file that may be saved."""
    path = tmp_path / "kortex.yaml"
    path.write_bytes(FIRST)
    return Source(text=FIRST, path=path)


def save(source: Source, text: bytes | None) -> None:
    """Over the file, or remove it."""
    assert source.path is not None
    if text is None:
        source.path.unlink()
    else:
        source.path.write_bytes(text)


async def test_saved_text_is_served_with_its_log_level(source: Source) -> None:
    """The level is the one setting of the process itself that may change."""
    served = Served()
    async with watching(source, served):
        save(source, SECOND)
        assert await served.next() == SECOND
    assert logging.getLogger("extproc").level == logging.WARNING


async def test_missing_file_is_noted(source: Source) -> None:
    """For /config and the metrics."""
    served = Served()
    async with watching(source, served):
        save(source, None)
        async with asyncio.timeout(PATIENCE):
            while served.history.last_refused is None:  # noqa: ASYNC110 - History tells nobody
                await asyncio.sleep(0.01)
    assert "cannot be read" in served.history.last_refused.problem


async def test_next_save_is_noticed_when_one_broke_the_gateway_s_own_code(source: Source) -> None:
    """A bug in a reload is logged and ends nothing."""
    served = Served()
    async with watching(source, served):
        save(source, POISON)
        assert await served.next() == POISON
        save(source, SECOND)
        assert await served.next() == SECOND


async def test_nothing_is_watched_when_there_is_no_file() -> None:
    """The environment of a running process does not change."""
    async with watching(Source(text=FIRST, path=None), Served()):
        pass
