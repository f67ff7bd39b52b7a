"""A gateway that could keep no record does not start."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from extproc.cli.bookkeeping import bookkeeping
from extproc.cli.console import Failed
from extproc.config.load import load
from extproc.providers.registry import SETTINGS


async def keep(spool: Path) -> None:
    """A ledger, for a moment."""
    text = f"ledger: {{url: 'sqlite:///{spool.parent.parent}/usage.db', spool: '{spool}'}}\n"
    async with bookkeeping(load(text.encode(), SETTINGS).config):
        pass


def test_a_spool_that_cannot_be_made_is_told_with_what_sets_it(tmp_path: Path) -> None:
    """Else it would serve, say that records wait, and lose each of them."""
    (tmp_path / "file").write_text("")
    with pytest.raises(
        Failed, match=r"file/spool cannot be written: Not a directory; ledger\.spool sets the directory$"
    ):
        asyncio.run(keep(tmp_path / "file" / "spool"))


def test_a_spool_that_is_not_there_is_made(tmp_path: Path) -> None:
    """With its parents."""
    asyncio.run(keep(tmp_path / "var" / "spool"))
    assert (tmp_path / "var" / "spool").is_dir()
