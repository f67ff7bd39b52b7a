"""The admin listener, for operators: ``/healthz``, ``/readyz``, ``/config``, ``/backends``, ``/metrics`` …"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from extproc.bootstrap.process import EnvoyError

_STOP_SECONDS: Final = 1
_PROMETHEUS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operated:
    """What operators look at.

    ``ready`` gives each condition of readiness by name, ``degraded`` what is amiss although it
    serves; ``describe`` and ``backends`` are JSON-ready, without secrets;
    ``registry`` is collected in a thread; ``envoy`` gives Envoy's own statistics, or is None where Envoy is somebody
    else's.
    """

    ready: Callable[[], Awaitable[Mapping[str, bool]]]
    describe: Callable[[], Mapping[str, Any]]
    backends: Callable[[], Mapping[str, Any]]
    registry: CollectorRegistry
    degraded: Callable[[], Sequence[str]]
    envoy: Callable[[], Awaitable[str]] | None


def admin_application(operated: Operated) -> Starlette:
    """The routes. Everything is read afresh at each request, and nothing can be changed through here."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        conditions = await operated.ready()
        ready = all(conditions.values())
        shown = {"ready": ready, "conditions": dict(conditions), "degraded": list(operated.degraded())}
        return _json(shown, 200 if ready else 503)

    async def config(_: Request) -> Response:
        return _json(operated.describe())

    async def backends(_: Request) -> Response:
        return _json(operated.backends())

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        # Merging the files of many workers takes a while; health must be answered meanwhile.
        text = await asyncio.to_thread(encode, operated.registry)
        return Response(text, media_type=content_type)

    async def metrics_of_envoy(_: Request) -> Response:
        if operated.envoy is None:
            raise HTTPException(404)
        try:
            return Response(await operated.envoy(), media_type=_PROMETHEUS_TEXT)
        except EnvoyError as error:
            raise HTTPException(503, str(error)) from error

    endpoints = {
        "/healthz": healthz,
        "/readyz": readyz,
        "/config": config,
        "/backends": backends,
        "/metrics": metrics,
        "/metrics/envoy": metrics_of_envoy,
    }

    async def refuse(_: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):  # Starlette's signature; it is registered for nothing else
            raise error
        status, message, headers = error.status_code, error.detail, error.headers
        if status == 404:
            message = f"nothing is here; there are {', '.join(endpoints)}"
        return _json({"error": {"message": message}}, status, headers)

    return Starlette(
        routes=[Route(path, endpoint, methods=["GET"]) for path, endpoint in endpoints.items()],
        exception_handlers={HTTPException: refuse},
    )


def _json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    body = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return Response(body, status, headers, "application/json")


class AdminServer:
    """Serves the application on a listening socket that is there already, in the loop that is running."""

    def __init__(self, application: Starlette, listening: socket.socket) -> None:
        self._listening = listening
        self._server = _Server(
            uvicorn.Config(
                application,
                access_log=False,
                lifespan="off",
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=_STOP_SECONDS,
                ws="none",
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when it answers."""
        self._task = asyncio.create_task(self._server.serve([self._listening]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0)

    async def stop(self) -> None:
        """Replies under way have a second to finish."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the command's: they drain the gateway, of which this is a part."""
        yield
