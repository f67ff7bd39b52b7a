"""Where a run's configuration comes from, and what is said about it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from extproc.cli.source import find_source


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory of its own, without any provider's variable."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.endswith(("_KEY", "_URL", "_HOST", "_ENDPOINT", "_BEDROCK", "_PROJECT")):
            monkeypatch.delenv(name)


def test_a_file_that_was_not_named_is_told(tmp_path: Path) -> None:
    """It is not read, which whoever has written it may think."""
    assert not any("was not read" in note for note in asyncio.run(find_source(None)).notes)
    (tmp_path / "kortex.yaml").write_text("routes: {}\n")
    found = asyncio.run(find_source(None))
    assert found.path is None
    assert found.notes[-1] == "kortex.yaml is here, and was not read: kortex run kortex.yaml"


def test_a_file_that_is_named_is_read(tmp_path: Path) -> None:
    """With what in it is hardly meant."""
    file = tmp_path / "kortex.yaml"
    file.write_text("routes: {}\n")
    found = asyncio.run(find_source(Path("kortex.yaml")))
    assert found.text == b"routes: {}\n"
    assert [note.partition(", ")[0] for note in found.notes] == ["line 1: nothing is served: there are no routes"]
