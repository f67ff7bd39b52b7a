"""How the server hears of what happens: in a process of its own, as gRPC's core has one epoll for all of a process."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

METHOD: Final = "/test.Service/Echo"
SERVER: Final = """
import asyncio, sys

import extproc.cli.main, extproc.server.child, uvloop
from extproc.server import grpc_polling
from extproc.server.grpc_server import Server

grpc_polling._WAIT, grpc_polling._SOONEST, grpc_polling._LATEST = map(float, sys.argv[3:])


async def echo(call):
    while (message := await call.read()) is not None:
        call.write(message)


async def serve():
    server = Server({sys.argv[2]: echo}, ())
    server.add_port(sys.argv[1])
    server.start()
    print("serving", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)
    print("stopped", flush=True)


uvloop.run(serve())
"""
"""With all that a worker imports. ``argv``: address, method, and the seconds of ``grpc_polling``."""

NEVER: Final = 600.0
LONG: Final = 1.0
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
END_HEADERS: Final = 4
HEAD: Final = 9
MESSAGE: Final = b"\0\0\0\0\x05hello"
REQUEST: Final = b"".join(
    # Each a literal that nobody need remember: https://www.rfc-editor.org/rfc/rfc7541#section-6.2.2.
    b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value
    for name, value in (
        *((b":method", b"POST"), (b":scheme", b"http"), (b":path", METHOD.encode()), (b":authority", b"test")),
        *((b"te", b"trailers"), (b"content-type", b"application/grpc")),
    )
)
linux = pytest.mark.skipif(not Path("/proc/self/fdinfo").exists(), reason="only Linux tells")


@contextmanager
def served(address: str, *, wait: float, soonest: float, latest: float) -> Iterator[None]:
    """An echo at ``address``, until its standard input ends."""
    command = [sys.executable, "-c", SERVER, address, METHOD, *map(str, (wait, soonest, latest))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        yield
        told, complaints = process.communicate(timeout=30)
    assert (told, complaints, process.returncode) == ("stopped\n", "", 0)


async def talk(target: str, messages: int) -> None:
    """On a connection of its own."""
    async with grpc.aio.insecure_channel(target, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        for _ in range(3):
            call: Any = channel.stream_stream(METHOD)()
            for number in range(messages):
                await call.write(b"%d" % number)
                assert await call.read() == b"%d" % number
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF


@linux
async def test_what_comes_is_heard_without_looking_for_it(tmp_path: Path) -> None:
    """On several connections."""
    address = f"unix:{tmp_path}/socket"
    with served(address, wait=0.001, soonest=NEVER, latest=NEVER):
        await asyncio.wait_for(asyncio.gather(*(talk(address, 100) for _ in range(4))), 60)


async def test_what_nobody_tells_of_is_found_by_looking(tmp_path: Path) -> None:
    """Calls that are left in the middle, one upon the other: much is completed by the core's own threads."""
    address = f"unix:{tmp_path}/socket"

    async def leave(target: str) -> None:
        async with grpc.aio.insecure_channel(target) as channel:
            for _ in range(100):
                call: Any = channel.stream_stream(METHOD)()
                await call.write(b"hello")
                call.cancel()
                call = channel.stream_stream(METHOD)()
                await call.write(b"hello")
                assert await call.read() == b"hello"
                call.cancel()

    with served(address, wait=0.001, soonest=0.002, latest=0.25):
        await asyncio.wait_for(asyncio.gather(*(leave(address) for _ in range(4))), 60)


@linux
def test_what_comes_together_with_the_end_of_a_call_is_heard(tmp_path: Path) -> None:
    """gRPC's core hands it to another thread, which tells nobody but those who wait within the core."""
    path = tmp_path / "socket"
    with served(f"unix:{path}", wait=LONG, soonest=NEVER, latest=NEVER), closing(_Raw(path)) as peer:
        call = peer.begin()
        for _ in range(50):
            peer.send()
            peer.hear(call)
            peer.reset(call)
            call = peer.begin()


class _Raw:
    """A client that says in one piece what it says before it listens: https://www.rfc-editor.org/rfc/rfc9113."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        self._unsent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, b"")
        # What a connection begins with is read by other threads of the core's as well.
        self.send()
        self._unread = self._socket.recv(65_536)
        time.sleep(0.2)
        self._last = -1

    def begin(self) -> int:
        """A call with a message."""
        self._last += 2
        self._unsent += _frame(HEADERS, self._last, REQUEST, flags=END_HEADERS) + _frame(DATA, self._last, MESSAGE)
        return self._last

    def reset(self, number: int) -> None:
        self._unsent += _frame(RST_STREAM, number, b"\0\0\0\x08")

    def send(self) -> None:
        self._socket.sendall(self._unsent)
        self._unsent = b""

    def hear(self, number: int) -> None:
        """Until the message is back."""
        while True:
            while len(self._unread) < HEAD or len(self._unread) < HEAD + int.from_bytes(self._unread[:3]):
                received = self._socket.recv(65_536)
                assert received
                self._unread += received
            end = HEAD + int.from_bytes(self._unread[:3])
            kind, stream, content = self._unread[3], int.from_bytes(self._unread[5:HEAD]), self._unread[HEAD:end]
            self._unread = self._unread[end:]
            if (kind, stream) == (DATA, number):
                assert content == MESSAGE
                return

    def close(self) -> None:
        self._socket.close()


def _frame(kind: int, stream: int, content: bytes, *, flags: int = 0) -> bytes:
    return len(content).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + content
