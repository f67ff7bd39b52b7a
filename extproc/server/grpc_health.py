"""gRPC's health service: https://github.com/grpc/grpc/blob/master/doc/health-checking.md."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from extproc.server import grpc_core as core
from extproc.server.grpc_call import Aborted, Handler, ServedCall

_SERVICE: Final = "/grpc.health.v1.Health"


class Health:
    """The same status for all ``services``; not serving, until it is said to."""

    def __init__(self, *services: str) -> None:
        self._services = frozenset(services)
        self._serving = False
        self._changed = asyncio.Event()

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By ``/service/method``."""
        return {f"{_SERVICE}/Check": self._check, f"{_SERVICE}/Watch": self._watch}

    def say(self, *, serving: bool) -> None:
        """To those who ask from now on, and to those who watch."""
        self._serving = serving
        self._changed.set()
        self._changed = asyncio.Event()

    async def _check(self, call: ServedCall) -> None:
        if await _asked(call) not in self._services:
            raise Aborted(core.Status.NOT_FOUND, "unknown service")
        call.write(self._answer())

    async def _watch(self, call: ServedCall) -> None:
        """Until the peer has had enough."""
        if await _asked(call) not in self._services:
            call.write(_answer(HealthCheckResponse.SERVICE_UNKNOWN))
            await asyncio.Event().wait()
        while True:
            changed = self._changed
            call.write(self._answer())
            await changed.wait()

    def _answer(self) -> bytes:
        return _answer(HealthCheckResponse.SERVING if self._serving else HealthCheckResponse.NOT_SERVING)


def _answer(status: int) -> bytes:
    response = HealthCheckResponse(status=status)
    written: bytes = response.SerializeToString()
    return written


async def _asked(call: ServedCall) -> str:
    request = HealthCheckRequest.FromString(await call.read() or b"")
    service: str = request.service
    return service
