"""A worker as its parent sees it, with a program in its place that does what it is told here."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from extproc.cli.without_secrets import compile_without_secrets
from extproc.config.load import load
from extproc.providers.registry import SETTINGS
from extproc.server import worker_process
from extproc.server.board_keeper import BoardKeeper
from extproc.server.control import Configure, Serve
from extproc.server.worker_process import Told, WorkerError, WorkerProcess

CONFIG = b"""
backends: {a: {provider: demo}}
routes: {all: {models: ["*"], defaultBackend: {name: a}}}
"""
WORKER = """#!%s -IS
import json, socket, sys, time
line = socket.socket(fileno=int(sys.argv[sys.argv.index("--control-fd") + 1])).makefile("rw")
for asked in map(json.loads, line):
    def say(kind, **other):
        print(json.dumps({"kind": kind, "number": asked["number"]} | other), file=line, flush=True)
    %s
"""
AT_WORK = """for _ in range(8):
        say("Working")
        time.sleep(0.5)
    say("Configured")
"""
SILENT = """time.sleep(60)
"""
LATE = """if asked["number"] == 2:
        time.sleep(3)
    if asked["number"] == 3:
        say("Configured", number=2)
        say("Configured", problem="three is refused")
    else:
        say("Configured")
"""
STUCK = """if asked["number"] == 2:
        time.sleep(60)
    say("Configured")
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


async def until(condition: Callable[[], bool]) -> None:
    """A log and a counter tell no event."""
    while not condition():  # noqa: ASYNC110 - as the docstring says
        await asyncio.sleep(0.05)


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


async def test_a_late_answer_is_not_that_of_the_next_message(worker: Start) -> None:
    """The next config would count as known where it is not, and as good where it is refused."""
    process = worker(LATE)
    try:
        await process.start()
        with pytest.raises(WorkerError, match="given config 2, and says nothing"):
            await process.tell(Serve(number=2))
        with pytest.raises(WorkerError, match="three is refused"):
            await process.tell(Configure(number=3, text=""))
        assert process.restarts == 0
        assert process.serving
    finally:
        await process.stop(0)


async def test_a_late_answer_is_waited_for_in_the_background(worker: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads that it was late also reads that all is well again."""
    process = worker(LATE)
    try:
        await process.start()
        with pytest.raises(WorkerError, match="given config 2, and says nothing"):
            await process.tell(Serve(number=2))
        await until(lambda: "worker at unix:nowhere has taken config 2, late" in caplog.text)
        assert process.restarts == 0
    finally:
        await process.stop(0)


@pytest.mark.parametrize("size", [pytest.param(0, id="small"), pytest.param(8 << 20, id="not even read")])
async def test_a_worker_that_falls_silent_for_good_begins_another_life(
    worker: Start, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It would go on with an old config for ever, if it went on at all."""
    process = worker(STUCK)
    try:
        await process.start()
        first = process.pid
        with pytest.raises(WorkerError, match="given config 2, and says nothing"):
            await process.tell(Configure(number=2, text=size * "x"))
        await until(lambda: process.restarts > 0 and process.serving)
        assert process.pid != first
        assert "was given config 2, and says nothing; ending it" in caplog.text
    finally:
        await process.stop(0)
