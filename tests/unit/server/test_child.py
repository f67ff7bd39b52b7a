"""A worker's process: it imports what its config needs, says that it is at work, does as told in any order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from extproc.config.load import ConfigError, Problem
from extproc.server import child
from extproc.server.control import Channel, Configure, Configured, Drain, Message, Serve, Working, open_channel

CONFIG = """
backends: {a: {provider: demo}}
routes: {all: {models: ["*"], defaultBackend: {name: a}}}
"""

LOOK = """
import sys
import extproc.server.child
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
HEAVY = {
    "azure",
    "bpe_openai",
    "envoy_data_plane",
    "genai_prices",
    "httpx",
    "opentelemetry",
    "psycopg",
    "redis",
    "splintr",
    "sqlalchemy",
}


def test_nothing_heavy_is_imported_before_the_config_is_known() -> None:
    """Every worker would wait for it, and keep its memory."""
    ran = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    imported = set(ran.stdout.split())
    assert "extproc" in imported
    assert HEAVY & imported == set()


COUNT = """
import os
from prometheus_client import Counter
from extproc.server import child

child._count_as_one_process()
counter, asked = Counter("asked", "..."), []
os.getpid = lambda: asked.append(1) or 1
for _ in range(9):
    counter.inc()
print(len(asked), os.listdir(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
"""


def test_a_worker_does_not_ask_who_it_is_at_each_count(tmp_path: Path) -> None:
    """Its files are named by its process, so that they are found when that has ended."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", COUNT], env=environment, stdout=subprocess.PIPE, text=True) as process:
        shown, _ = process.communicate(timeout=60)
    assert shown == f"0 ['counter_{process.pid}.db']\n"


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Channel]:
    """What the supervisor has of a worker that has just been started."""
    ours, theirs = socket.socketpair()
    board, their_board = socket.socketpair()
    for end in (ours, board):
        end.settimeout(0)
    (tmp_path / "metrics").mkdir()
    with theirs, their_board, board:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "extproc.server.child", "--address", f"unix:{tmp_path / 'w.sock'}"),
            *("--control-fd", str(theirs.fileno()), "--board-fd", str(their_board.fileno())),
            pass_fds=(theirs.fileno(), their_board.fileno()),
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")},
        )
    channel = await open_channel(ours)
    yield channel
    with contextlib.suppress(ConnectionError):
        await channel.send(Drain(grace=0.0))
    async with asyncio.timeout(20):
        assert await process.wait() == 0
    channel.close()


async def answer(told: Channel, message: Message) -> Message | None:
    """The worker's, or None where it has ended."""
    await told.send(message)
    async with asyncio.timeout(30):
        while isinstance(said := await told.receive(), Working):
            pass
    return said


async def test_a_worker_that_starts_in_the_middle_of_a_reload_serves_one_config_after_the_other(told: Channel) -> None:
    """It knows the second before it is to serve the first, and may be told of it again."""
    for number in (1, 2):
        assert await answer(told, Configure(number=number, text=CONFIG)) == Configured(number=number)
    assert await answer(told, Serve(number=1)) == Configured(number=1)
    assert await answer(told, Serve(number=1)) == Configured(number=1)
    assert await answer(told, Configure(number=2, text=CONFIG)) == Configured(number=2)
    assert await answer(told, Serve(number=2)) == Configured(number=2)


async def test_a_worker_serves_what_it_was_told_of_before_it_served(told: Channel) -> None:
    """As the supervisor has it where the reload went on in the moment of the start."""
    for number in (1, 2):
        await answer(told, Configure(number=number, text=CONFIG))
    assert await answer(told, Serve(number=1)) == Configured(number=1)
    assert await answer(told, Serve(number=2)) == Configured(number=2)


async def test_a_worker_says_that_it_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it loads what takes long, and no more when it has answered."""
    monkeypatch.setattr(child, "_SAY_SO_EVERY", 0.02)
    loading = threading.Event()

    def load_slowly(_text: bytes, **_: object) -> None:
        loading.wait(10)
        raise ConfigError((Problem(path="backends", message="there are none"),))

    monkeypatch.setattr(child, "build_snapshot", load_slowly)
    ends = [end for _ in range(2) for end in socket.socketpair()]
    for end in ends:
        end.settimeout(0)
    channels = [await open_channel(end) for end in ends]
    ours, theirs, board, _ = channels
    running = asyncio.create_task(child.Child("unix:nowhere", theirs, board).run())
    await ours.send(Configure(number=7, text=""))
    assert await ours.receive() == Working(number=7)
    loading.set()
    while isinstance(answer := await ours.receive(), Working):
        pass
    assert isinstance(answer, Configured)
    assert answer.problem is not None
    ours.close()
    await running
    for channel in channels:
        channel.close()
