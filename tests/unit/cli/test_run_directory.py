"""A directory of one run's own."""

from __future__ import annotations

import socket
import stat
import tempfile
from pathlib import Path

import pytest

from extproc.cli.run_directory import run_directory


def test_directory_is_ours_alone_and_gone_at_the_end() -> None:
    """It holds the sockets over which the gateway is controlled."""
    with run_directory() as directory:
        (directory / "file").write_text("left behind")
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert not directory.exists()


def test_sockets_fit_when_the_temporary_directory_is_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a Unix socket has a hundred bytes; some systems' temporary directories have that many alone."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with run_directory() as directory, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(directory / "worker-1023.sock"))
        assert not directory.is_relative_to(deep)


def test_directory_is_in_the_temporary_directory_when_that_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """As everybody expects of TMPDIR."""
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        with run_directory() as directory:
            assert directory.is_relative_to(short)
