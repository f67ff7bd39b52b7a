"""One ext_proc worker: a gRPC server for Envoy on one address, and its composition root."""

from __future__ import annotations

import re
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from extproc.server import messages
from extproc.server.seams import Board, Current, Gate, Recorder
from extproc.server.stream import ExternalProcessor

_STREAMS: Final = 100_000


class Worker:
    """Serves Envoy until it is stopped; ``open_streams`` is how many requests are in it."""

    def __init__(self, address: str, current: Current, recorder: Recorder, board: Board, gate: Gate) -> None:
        self.address = address
        self._processor = ExternalProcessor(current, recorder, board, gate)
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            options=(
                # The limit on bodies is Envoy's, and may change with a reload; gRPC's own default is 4 MiB.
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", _STREAMS),
                ("grpc.so_reuseport", 0),
            )
        )
        handler = grpc.stream_stream_rpc_method_handler(
            self._processor.process, request_deserializer=messages.parse_request, response_serializer=_as_is
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(messages.SERVICE, {"Process": handler}),)
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    @property
    def open_streams(self) -> int:
        """How many ext_proc streams are open."""
        return self._processor.open_streams

    async def start(self) -> None:
        """Listen. Raises RuntimeError when the address cannot be had."""
        port = self._server.add_insecure_port(self.address)
        if not port:
            message = f"cannot listen on {self.address}"
            raise RuntimeError(message)
        self.address = re.sub(r"(?<=:)0$", str(port), self.address)
        await self._server.start()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Say NOT_SERVING; what runs goes on running."""
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, grace: float) -> None:
        """Finish what runs within ``grace`` seconds, then end."""
        await self._server.stop(grace)

    async def _set_health(self, status: int) -> None:
        for service in ("", messages.SERVICE):
            await self._health.set(service, status)


def _as_is(data: bytes) -> bytes:
    return data
