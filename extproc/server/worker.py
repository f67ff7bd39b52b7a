"""One ext_proc worker: a gRPC server for Envoy on one address, and its composition root."""

from __future__ import annotations

import re
from typing import Final

from extproc.server import messages
from extproc.server.grpc_call import Handler
from extproc.server.grpc_health import Health
from extproc.server.grpc_server import Server
from extproc.server.seams import Board, Current, Gate, Recorder
from extproc.server.stream import ExternalProcessor

_OPTIONS: Final = (
    # The limit on bodies is Envoy's, and may change with a reload; gRPC's own default is 4 MiB.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_concurrent_streams", 100_000),
    ("grpc.so_reuseport", 0),
)


class Worker:
    """Serves Envoy until it is stopped; ``open_streams`` is how many requests are in it."""

    def __init__(self, address: str, current: Current, recorder: Recorder, board: Board, gate: Gate) -> None:
        self.address = address
        self._processor = ExternalProcessor(current, recorder, board, gate)
        self._health = Health("", messages.SERVICE)
        handlers: dict[str, Handler] = {f"/{messages.SERVICE}/Process": self._processor.process}
        self._server = Server({**handlers, **self._health.handlers}, _OPTIONS)

    @property
    def open_streams(self) -> int:
        """How many ext_proc streams are open."""
        return self._processor.open_streams

    async def start(self) -> None:
        """Listen. Raises RuntimeError when the address cannot be had."""
        port = self._server.add_port(self.address)
        self.address = re.sub(r"(?<=:)0$", str(port), self.address)
        self._server.start()
        self._health.say(serving=True)

    async def drain(self) -> None:
        """Say NOT_SERVING; what runs goes on running."""
        self._health.say(serving=False)

    async def stop(self, grace: float) -> None:
        """Finish what runs within ``grace`` seconds, then end."""
        await self._server.stop(grace)
