"""A client that sees every byte and how a connection ended, for tests of what HTTP libraries smooth over."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from tests.fakes.steps import compact


@dataclass(frozen=True, slots=True)
class Ending:
    """What was read, and whether a FIN, a RST or the client's own impatience ended the reading."""

    data: bytes
    how: Literal["fin", "reset", "timeout"]


class RawClient:
    """One TCP connection to ``port`` of 127.0.0.1; ``timeout`` seconds bound every wait."""

    def __init__(self, port: int, *, timeout: float = 5.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection with a FIN."""
        self._socket.close()

    def reset(self) -> None:
        """End the connection with a RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Write ``data`` as it is."""
        self._socket.sendall(data)

    def post(self, path: str, body: object, *headers: str) -> None:
        """Send a POST with ``body`` as JSON (bytes: as they are) and these header lines; the reply is not awaited."""
        content = body if isinstance(body, bytes) else compact(body)
        lines = [f"POST {path} HTTP/1.1", "host: fake", f"content-length: {len(content)}", *headers]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + content)

    def read(self) -> bytes:
        """What has arrived, at least one byte unless the peer ended the connection; TimeoutError, ConnectionError."""
        return self._socket.recv(1 << 16)

    def read_until(self, wanted: bytes) -> bytes:
        """Everything up to where ``wanted`` has arrived; EOFError when the connection ends before."""
        data = b""
        while wanted not in data:
            piece = self.read()
            if not piece:
                raise EOFError(f"{wanted!r} did not come, only {data!r}")
            data += piece
        return data

    def read_to_end(self, *, patience: float | None = None) -> Ending:
        """Everything until the connection ends, or until nothing came for ``patience`` seconds."""
        if patience is not None:
            self._socket.settimeout(patience)
        data = b""
        try:
            while part := self.read():
                data += part
        except ConnectionResetError:
            return Ending(data, "reset")
        except TimeoutError:
            return Ending(data, "timeout")
        return Ending(data, "fin")
