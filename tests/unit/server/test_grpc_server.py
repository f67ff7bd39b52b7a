"""The gRPC server, seen by a real client."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from extproc.server import grpc_server
from extproc.server.grpc_call import Aborted, ServedCall
from extproc.server.grpc_core import Status
from extproc.server.grpc_health import Health
from extproc.server.grpc_server import Server

METHOD = "/test.Service/Call"
ANYWHERE = "127.0.0.1:0"
MANY = 500
LONG = b"x" * 100_000


@pytest.fixture(autouse=True)
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a system that does not tell when to look: the client here takes the server's events out of the epoll that

    they share, and wakes nobody. How the server is told is shown in test_grpc_polling.py.
    """
    monkeypatch.setattr(grpc_server, "epoll_that_watches", lambda _sockets: None)


class Service:
    """Its handler, and what became of the calls."""

    def __init__(self, handler: Callable[[ServedCall], Awaitable[None]]) -> None:
        self._handler = handler
        self.began = asyncio.Event()
        self.ended = asyncio.Event()

    async def serve(self, call: ServedCall) -> None:
        self.began.set()
        try:
            await self._handler(call)
        finally:
            self.ended.set()


@asynccontextmanager
async def serving(
    service: Service, address: str = ANYWHERE, options: tuple[tuple[str, int], ...] = ()
) -> AsyncIterator[tuple[Server, Any]]:
    """A server, and a call to it."""
    server = Server({METHOD: service.serve}, options)
    port = server.add_port(address)
    server.start()
    target = address if address.startswith("unix:") else f"127.0.0.1:{port}"
    async with grpc.aio.insecure_channel(target, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        yield server, channel
    await server.stop(0)


def call(channel: Any, method: str = METHOD, **options: Any) -> Any:
    """One stream each way, of bytes."""
    return channel.stream_stream(method)(**options)


async def echo(served: ServedCall) -> None:
    """Everything, until the client has said all."""
    while (message := await served.read()) is not None:
        served.write(message)


async def forever(served: ServedCall) -> None:
    """Waits for something else than its peer."""
    await served.read()
    await asyncio.Event().wait()


async def listening(served: ServedCall) -> None:
    """Waits for its peer alone."""
    while await served.read() is not None:
        pass


async def asking(served: ServedCall) -> None:
    """Waits for an answer, and does nothing before."""
    await served.read()
    served.write(b"question")
    await served.read(silent=True)


async def test_messages_come_and_go_in_turn(tmp_path: Path) -> None:
    """On a unix socket, as between Envoy and a worker."""
    async with serving(Service(echo), f"unix:{tmp_path}/s") as (_, channel):
        one = call(channel)
        for number in range(MANY):
            await one.write(b"%d" % number)
            assert await one.read() == b"%d" % number
        await one.done_writing()
        assert await one.read() is grpc.aio.EOF
        assert await one.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("silent", [False, True])
async def test_messages_come_all_at_once_and_are_answered_several_times(*, silent: bool) -> None:
    """Also where each wait is said to be a silent one."""

    async def twice(served: ServedCall) -> None:
        while (message := await served.read(silent=silent)) is not None:
            served.write(message)
            served.write(message + LONG)
        served.write(b"last")

    async with serving(Service(twice)) as (_, channel):
        one = call(channel, request_iterator=[b"%d" % number for number in range(100)])
        received = [message async for message in one]
    sent = [b"%d" % number for number in range(100)]
    assert received == [part for message in sent for part in (message, message + LONG)] + [b"last"]


async def test_many_calls_at_once() -> None:
    """More than the server waits for at a time."""
    async with serving(Service(echo)) as (_, channel):

        async def once(number: int) -> list[bytes]:
            return [message async for message in call(channel, request_iterator=[b"%d" % number, b"end"])]

        assert await asyncio.gather(*map(once, range(MANY))) == [[b"%d" % number, b"end"] for number in range(MANY)]


async def test_what_came_with_the_call_is_known() -> None:
    """Envoy says there what it asks for."""

    async def told(served: ServedCall) -> None:
        served.write(repr(dict(served.invocation_metadata())["x-stage"]).encode())

    async with serving(Service(told)) as (_, channel):
        one = call(channel, metadata=(("x-stage", "arrival"),), request_iterator=[b""])
        assert await one.read() == b"'arrival'"


async def test_a_handler_that_says_nothing_ends_its_call_all_the_same() -> None:
    """Nor has the client said anything."""
    async with serving(Service(listening)) as (_, channel):
        one = call(channel, request_iterator=[])
        assert await one.read() is grpc.aio.EOF
        assert await one.code() is grpc.StatusCode.OK


async def test_what_is_written_while_nobody_sends_goes_out_at_once() -> None:
    """A clock may end a stream whose handler waits for its peer; so may a store that answers between two messages."""

    async def alarmed(served: ServedCall) -> None:
        await served.read()
        served.write(b"first")
        asyncio.get_running_loop().call_later(0.01, served.write, b"expired")
        await served.read()

    async def asked(served: ServedCall) -> None:
        await served.read()
        served.write(b"first")
        await asyncio.sleep(0.01)
        served.write(b"expired")
        await asyncio.Event().wait()

    for handler in (alarmed, asked):
        async with serving(Service(handler)) as (_, channel):
            one = call(channel)
            await one.write(b"begin")
            assert [await one.read(), await one.read()] == [b"first", b"expired"]
            one.cancel()


async def test_a_wait_for_a_message_may_be_given_up_and_loses_none() -> None:
    """What comes later is there for the next one who asks."""

    async def impatient(served: ServedCall) -> None:
        await served.read()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_message(served), 0.01)
        served.write(b"now")
        served.write(await served.read() or b"nothing")

    async with serving(Service(impatient)) as (_, channel):
        one = call(channel)
        await one.write(b"begin")
        assert await one.read() == b"now"
        await one.write(b"late")
        assert await one.read() == b"late"


async def test_what_is_taken_while_it_is_waited_for_wakes_nobody() -> None:
    """The handler hears of the rest, and of nothing twice; what was written meanwhile goes out in its turn."""

    async def taking(served: ServedCall) -> None:
        def take(message: bytes) -> bool:
            served.write(b"taken " + message)
            if message == b"big":
                served.write(LONG * 20)
            return not message.startswith(b"left")

        while (message := await served.read(take=take)) is not None:
            served.write(b"heard " + message)

    said = [b"a", b"b", b"left", b"big", b"c", b"left too"]
    async with serving(Service(taking)) as (_, channel):
        received = [message async for message in call(channel, request_iterator=said)]
    # The first is there before anybody waits for it.
    assert received == [
        *(b"heard a", b"taken b", b"taken left", b"heard left", b"taken big", LONG * 20, b"taken c"),
        *(b"taken left too", b"heard left too"),
    ]


async def test_what_fails_while_it_takes_fails_its_handler() -> None:
    """And the call ends."""

    async def failing(served: ServedCall) -> None:
        await served.read()
        served.write(b"go on")

        def take(_message: bytes) -> bool:
            raise Aborted(Status.NOT_FOUND, "no such thing")

        await served.read(take=take)

    async with serving(Service(failing)) as (_, channel):
        one = call(channel)
        await one.write(b"begin")
        assert await one.read() == b"go on"
        await one.write(b"more")
        assert await one.code() is grpc.StatusCode.NOT_FOUND


async def _message(served: ServedCall) -> bytes | None:
    return await served.read()


async def test_a_client_that_takes_nothing_is_not_read_from_for_ever() -> None:
    """What it does not take must be held here."""
    taken = 0

    async def generous(served: ServedCall) -> None:
        nonlocal taken
        while await served.read() is not None:
            taken += 1
            served.write(LONG * 10)

    async with serving(Service(generous)) as (_, channel):
        one = call(channel)

        async def push() -> None:
            for _ in range(MANY):
                await one.write(b"more")
            await one.done_writing()

        pushing = asyncio.create_task(push())
        before = -1
        while before != taken:
            before = taken
            await asyncio.sleep(0.3)
        assert 0 < taken < MANY / 2
        answers = [message async for message in one]
        await pushing
    assert len(answers) == MANY


@pytest.mark.parametrize("handler", [forever, listening, asking])
async def test_a_handler_ends_when_its_client_leaves(handler: Callable[[ServedCall], Awaitable[None]]) -> None:
    """Whether it waits for the client or for something else."""
    service = Service(handler)
    async with serving(service) as (_, channel):
        one = call(channel)
        await one.write(b"begin")
        await service.began.wait()
        one.cancel()
        await asyncio.wait_for(service.ended.wait(), 5)


async def test_a_handler_ends_when_the_clients_connection_breaks() -> None:
    """As when an Envoy dies."""
    service = Service(forever)
    async with serving(service) as (_, channel):
        one = call(channel)
        await one.write(b"begin")
        await service.began.wait()
        await channel.close()
        await asyncio.wait_for(service.ended.wait(), 5)


async def test_a_call_ends_at_its_deadline() -> None:
    """Also on this side."""
    service = Service(forever)
    async with serving(service) as (_, channel):
        one = call(channel, timeout=0.2)
        await one.write(b"begin")
        assert await one.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(service.ended.wait(), 5)


async def test_a_bug_ends_the_call_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The peer has what was written before it, and learns nothing of it."""

    async def broken(served: ServedCall) -> None:
        served.write(b"so far")
        raise ValueError("of no concern to the peer")

    async with serving(Service(broken)) as (_, channel):
        one = call(channel)
        await one.write(b"begin")
        assert await one.read() == b"so far"
        assert await one.code() is grpc.StatusCode.INTERNAL
        assert "concern" not in await one.details()
    assert "of no concern to the peer" in caplog.text


async def test_a_handler_may_choose_the_status() -> None:
    """As the health service does."""

    async def refusing(served: ServedCall) -> None:
        raise Aborted(Status.NOT_FOUND, "no such thing")

    async with serving(Service(refusing)) as (_, channel):
        one = call(channel)
        await one.write(b"begin")
        assert await one.code() is grpc.StatusCode.NOT_FOUND
        assert await one.details() == "no such thing"


async def test_an_unknown_method_is_told_of() -> None:
    """And the server goes on."""
    async with serving(Service(echo)) as (_, channel):
        one = call(channel, "/test.Service/Other")
        assert await one.code() is grpc.StatusCode.UNIMPLEMENTED
        assert await call(channel, request_iterator=[b"begin"]).read() == b"begin"


async def test_a_message_that_is_too_long_ends_its_call() -> None:
    """Its own, and no other."""
    async with serving(Service(echo), options=(("grpc.max_receive_message_length", 1_000),)) as (_, channel):
        one = call(channel)
        await one.write(b"x" * 1_001)
        assert await one.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await call(channel, request_iterator=[b"x" * 1_000]).read() == b"x" * 1_000


async def test_messages_are_as_long_as_the_options_say() -> None:
    """gRPC's own limit is 4 MiB."""
    unlimited = ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)
    server = Server({METHOD: Service(echo).serve}, unlimited)
    port = server.add_port(ANYWHERE)
    server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=unlimited) as channel:
        assert await call(channel, request_iterator=[LONG * 60]).read() == LONG * 60
    await server.stop(0)


async def test_what_runs_may_end_within_the_grace_period() -> None:
    """On both sides it goes on as before."""
    service = Service(echo)
    async with serving(service) as (server, channel):
        one = call(channel)
        await one.write(b"begin")
        assert await one.read() == b"begin"
        stopping = asyncio.create_task(server.stop(60))
        await asyncio.sleep(0.1)
        assert not stopping.done()
        await one.write(b"still")
        assert await one.read() == b"still"
        await one.done_writing()
        assert await one.code() is grpc.StatusCode.OK
        await asyncio.wait_for(stopping, 5)


@pytest.mark.parametrize("handler", [forever, listening, asking])
async def test_what_runs_is_ended_after_the_grace_period(handler: Callable[[ServedCall], Awaitable[None]]) -> None:
    """And only then is the server at its end."""
    service = Service(handler)
    async with serving(service) as (server, channel):
        one = call(channel)
        await one.write(b"begin")
        await service.began.wait()
        await asyncio.wait_for(server.stop(0.1), 5)
        assert service.ended.is_set()
        with pytest.raises(grpc.aio.AioRpcError):
            assert [message async for message in one] == [b"question"]


async def test_a_server_that_does_not_start_is_stopped_all_the_same() -> None:
    """Its address is one that cannot be had."""
    server = Server({}, ())
    with pytest.raises(RuntimeError, match="/nowhere"):
        server.add_port("unix:/nowhere/socket")
    await server.stop(0)


class _Stream:
    """Hosted by the call that it knows."""

    def __init__(self, served: ServedCall) -> None:
        self._served = served

    def take(self, _message: bytes) -> bool:
        return False

    async def serve(self) -> None:
        while (message := await self._served.read(take=self.take)) is not None:
            self._served.write(message)


async def test_no_call_outlives_its_end() -> None:
    """Without the garbage collector, which looks for cycles."""
    seen: weakref.WeakSet[asyncio.Task[Any] | _Stream] = weakref.WeakSet()

    async def noted(served: ServedCall) -> None:
        task, stream = asyncio.current_task(), _Stream(served)
        assert task is not None
        seen.add(task)
        seen.add(stream)
        await stream.serve()

    async with serving(Service(noted)) as (_, channel):
        gc.disable()
        try:
            for _ in range(20):
                assert [message async for message in call(channel, request_iterator=[b"a"])] == [b"a"]
            await asyncio.sleep(0.05)
            assert len(seen) <= 2  # the last one's
        finally:
            gc.enable()


async def test_health() -> None:
    """https://github.com/grpc/grpc/blob/master/doc/health-checking.md."""
    health = Health("", "test.Service")
    server = Server(health.handlers, ())
    port = server.add_port(ANYWHERE)
    server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)

        async def check(service: str) -> int:
            return int((await stub.Check(health_pb2.HealthCheckRequest(service=service))).status)

        watch = stub.Watch(health_pb2.HealthCheckRequest(service="test.Service"))
        said = health_pb2.HealthCheckResponse
        assert (await watch.read()).status == said.NOT_SERVING
        health.say(serving=True)
        assert (await watch.read()).status == said.SERVING
        assert [await check(""), await check("test.Service")] == [said.SERVING] * 2
        health.say(serving=False)
        assert (await watch.read()).status == said.NOT_SERVING
        assert [await check(""), await check("test.Service")] == [said.NOT_SERVING] * 2
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await check("other")
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        unknown = stub.Watch(health_pb2.HealthCheckRequest(service="other"))
        assert (await unknown.read()).status == said.SERVICE_UNKNOWN
    await asyncio.wait_for(server.stop(0), 5)
