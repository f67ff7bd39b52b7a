"""What shares a round trip to a Redis server: everybody gets an answer, and their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.exceptions import ConnectionError as ConnectionGone
from redis.exceptions import ResponseError

from extproc.quota.redis_pipeline import Pipeline, written
from extproc.quota.redis_server import find_server
from tests.fakes.redis_server import RedisServer

ECHO = written("redis.call('INCR', KEYS[1]) return ARGV[1]")
BROKEN = written("return redis.call('HGET', KEYS[1], 'no hash')")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One for all."""
    with RedisServer() as server:
        yield server


@pytest.fixture
async def pipeline(server: RedisServer) -> AsyncIterator[Pipeline]:
    """To a server with nothing in it."""
    server.do("FLUSHALL")
    pipeline = Pipeline(find_server(f"redis://{server.address}", None, key="n", timeout=20.0), 20.0)
    yield pipeline
    await pipeline.close()


async def test_everybody_gets_their_own_answer(pipeline: Pipeline, server: RedisServer) -> None:
    """Asked at once, and one after the other while others are under way."""

    async def ask(number: int) -> str:
        for _ in range(number % 7):
            await asyncio.sleep(0)
        answer: str = await pipeline.run(ECHO, ["n"], [number], within=0.001 * (number % 3))
        return answer

    assert await asyncio.gather(*map(ask, range(500))) == list(map(str, range(500)))
    assert server.do("GET", "n") == "500"
    # Once the server knows the script, it is called by its name.
    assert server.do("INFO", "commandstats")["cmdstat_eval"]["calls"] < 500


async def test_an_error_is_told_to_whom_it_concerns(pipeline: Pipeline) -> None:
    """Whoever shares the round trip is answered."""
    answers = await asyncio.gather(
        pipeline.run(ECHO, ["n"], ["first"]),
        pipeline.run(BROKEN, ["n"], []),
        pipeline.run(ECHO, ["n"], ["last"]),
        return_exceptions=True,
    )
    assert (answers[0], answers[2]) == ("first", "last")
    assert isinstance(answers[1], ResponseError)
    assert await pipeline.run(ECHO, ["n"], ["next"]) == "next"


async def test_what_is_cancelled_before_it_is_sent_does_not_run(pipeline: Pipeline, server: RedisServer) -> None:
    """Nobody would know of it."""
    leaving = asyncio.create_task(pipeline.run(ECHO, ["n"], ["gone"], within=30.0))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert await pipeline.run(ECHO, ["n"], ["here"]) == "here"
    assert server.do("GET", "n") == "1"


async def test_who_is_not_in_a_hurry_goes_with_the_next(pipeline: Pipeline) -> None:
    """Or alone, when nobody comes."""
    begin = time.monotonic()
    unhurried = asyncio.create_task(pipeline.run(ECHO, ["n"], ["a"], within=60.0))
    await asyncio.sleep(0)
    await pipeline.run(ECHO, ["n"], ["b"])
    assert await unhurried == "a"
    assert time.monotonic() - begin < 60
    assert await pipeline.run(ECHO, ["n"], ["c"], within=0.01) == "c"


async def test_whoever_waits_when_it_is_closed_is_told(pipeline: Pipeline, server: RedisServer) -> None:
    """On the way and at home."""
    await pipeline.run(ECHO, ["n"], ["first"])
    server.freeze()
    try:
        waiting = [asyncio.create_task(pipeline.run(ECHO, ["n"], [number])) for number in range(2)]
        await asyncio.sleep(0.05)
        waiting.append(asyncio.create_task(pipeline.run(ECHO, ["n"], ["late"], within=10.0)))
        await asyncio.sleep(0)
        await pipeline.close()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    finally:
        server.thaw()
    assert [type(answer) for answer in answers] == [ConnectionGone] * 3
