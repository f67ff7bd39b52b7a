"""What the keeper of the board tells its workers, and when."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from extproc.cli.without_secrets import compile_without_secrets
from extproc.config.load import load
from extproc.providers.registry import SETTINGS
from extproc.routing.board import Observation, Result
from extproc.server.board_keeper import BoardKeeper
from extproc.server.control import Known, Seen

CONFIG = b"""
backends: {a: {provider: demo}}
routes: {all: {models: ["*"], defaultBackend: {name: a}}}
"""


def seen(result: Result, *, retry_after: float | None = None, probes: tuple[str, ...] = ()) -> Seen:
    """One attempt's end."""
    observation = asdict(Observation(backend="a", result=result, retry_after=retry_after, probe=bool(probes)))
    return Seen(observations=[observation], in_flight={}, probes=list(probes))


async def test_a_probe_used_between_two_reports_is_followed_by_another() -> None:
    """The only worker there is would otherwise wait for leave that the keeper thinks it has, and the circuit stay."""
    keeper = BoardKeeper(compile_without_secrets(load(CONFIG, SETTINGS).config))
    told: asyncio.Queue[Known] = asyncio.Queue()
    keeper.attach(0, told.put_nowait)
    running = asyncio.create_task(keeper.run())
    try:
        keeper.seen(0, seen(Result.FAILURE, retry_after=0.01))
        for _ in range(2):
            async with asyncio.timeout(5):
                while (await told.get()).states["a"]["circuit"] != "half_open":
                    pass
            keeper.seen(0, seen(Result.SUCCESS, probes=("a",)))
        async with asyncio.timeout(5):
            while (await told.get()).states["a"]["circuit"] != "closed":
                pass
    finally:
        running.cancel()
