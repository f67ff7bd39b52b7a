"""The other end of an attempt's stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from extproc.pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse


class ScriptedEnvoy:
    """Sends these messages, each with ``rest`` after it, then ends the stream."""

    def __init__(self, *messages: ProcessingRequest, rest: bytes = b"") -> None:
        self._messages = deque(message.SerializeToString() + rest for message in messages)
        self.received: list[ProcessingResponse] = []

    async def read(self, *, silent: bool = False, take: Callable[[bytes], bool] | None = None) -> bytes | None:
        while self._messages:
            message = self._messages.popleft()
            if take is None or not take(message):
                return message
        return None

    def write(self, message: bytes) -> None:
        self.received.append(ProcessingResponse.FromString(message))
