"""A worker as its parent sees it, with a program in its place that does what it is told here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from extproc.cli.without_secrets import compile_without_secrets
from extproc.config.load import load
from extproc.providers.registry import SETTINGS
from extproc.server import worker_process
from extproc.server.board_keeper import BoardKeeper
from extproc.server.control import Configure
from extproc.server.worker_process import Told, WorkerError, WorkerProcess

CONFIG = b"""
backends: {a: {provider: demo}}
routes: {all: {models: ["*"], defaultBackend: {name: a}}}
"""
WORKER = """#!%s -IS
import json, socket, sys, time
line = socket.socket(fileno=int(sys.argv[sys.argv.index("--control-fd") + 1])).makefile("rw")
for asked in map(json.loads, line):
    def say(kind):
        print(json.dumps({"kind": kind, "number": asked["number"]}), file=line, flush=True)
    %s
"""
AT_WORK = """for _ in range(8):
        say("Working")
        time.sleep(0.5)
    say("Configured")
"""
SILENT = """time.sleep(60)
"""

Start = Callable[[str], WorkerProcess]


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """A worker that does as the text says; its parent waits for a word for two seconds."""

    def worker(what: str) -> WorkerProcess:
        program = tmp_path / "worker"
        program.write_text(WORKER % (sys.executable, what))
        program.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(program))
        monkeypatch.setattr(worker_process, "_SILENT_FOR", 2.0)
        board = BoardKeeper(compile_without_secrets(load(CONFIG, SETTINGS).config))
        told = Told(configs=[Configure(number=1, text=CONFIG.decode())], serves=1)
        return WorkerProcess(0, "unix:nowhere", tmp_path, lambda: told, board)

    return worker


async def test_a_worker_may_take_as_long_as_it_is_at_work(worker: Start) -> None:
    """A large config takes many times what a small one does, and more where several workers load it at once."""
    process = worker(AT_WORK)
    try:
        await process.start()
        assert process.serving
    finally:
        await process.stop(0)


async def test_a_worker_that_says_nothing_is_given_up(worker: Start) -> None:
    """Nobody would ever learn why the gateway does not start."""
    process = worker(SILENT)
    try:
        with pytest.raises(WorkerError, match="given config 1, and says nothing"):
            await process.start()
    finally:
        await process.stop(0)
