"""The life of ``kortex serve``: start, serve, drain, end. Returns the process's exit code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import REGISTRY

from extproc.cli.bookkeeping import bookkeeping
from extproc.cli.console import Failed
from extproc.cli.signals import SIGNALLED, StopSignals, first_of
from extproc.cli.source import find_source
from extproc.cli.watching import watching
from extproc.quota.store import StoreUnavailable
from extproc.server.addresses import check_free, listen, spell_address
from extproc.server.admin import AdminServer, Operated, admin_application
from extproc.server.backends_page import describe_backends
from extproc.server.logs import log_to_standard_error
from extproc.server.self_metrics import SelfMetrics, Vitals
from extproc.server.standalone import Standalone

if TYPE_CHECKING:
    from extproc.server.bookkeeping import Bookkeeping

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line said. Without ``admin``, the configuration says where that is."""

    config: Path
    listen: str
    admin: str | None
    xds_directory: Path | None
    envoy_admin: str | None


async def run_processor(options: Options) -> int:
    """Raises ConfigError, ConfigUnreadable, AddressUnavailable, OSError and Failed before anything serves."""
    signals = StopSignals()
    source = await find_source(options.config)
    processor = Standalone(
        options.listen, source.text, xds_directory=options.xds_directory, envoy_admin=options.envoy_admin
    )
    gateway = processor.snapshot.config.gateway
    log_to_standard_error(gateway.log_level)
    admin_socket = listen(options.admin or gateway.admin)
    if not options.listen.startswith("unix:"):
        check_free(options.listen)  # says why not, where gRPC does not
    async with bookkeeping(processor.snapshot.config) as ledger, _admin(processor, admin_socket, ledger):
        try:
            address = await processor.start()
        except (RuntimeError, StoreUnavailable) as error:
            raise Failed(str(error)) from error
        try:
            _LOG.info("serving Envoy at %s, admin at %s", address, spell_address(admin_socket))
            async with watching(source, processor):
                await signals.first
            _LOG.info("draining; a second signal ends everything at once")
            draining = asyncio.ensure_future(processor.drain())
            await first_of(draining, signals.second)
            draining.cancel()
            return SIGNALLED + signals.second.result() if signals.second.done() else 0
        finally:
            await processor.stop()


@contextlib.asynccontextmanager
async def _admin(processor: Standalone, listening: socket.socket, ledger: Bookkeeping | None) -> AsyncIterator[None]:
    own = SelfMetrics(processor.history, lambda: _vitals(processor), processor.board)
    REGISTRY.register(own)
    operated = Operated(
        ready=processor.ready,
        degraded=lambda: processor.quota.degraded,
        describe=processor.history.describe,
        backends=lambda: describe_backends(processor.snapshot, processor.board.overview()),
        registry=REGISTRY,
        snapshot=lambda: processor.snapshot,
        states=processor.board.overview,
        envoy=None,
    )
    if ledger is not None:
        REGISTRY.register(ledger)
        degraded = ledger.degraded
        operated = replace(operated, degraded=lambda: {**processor.quota.degraded, **degraded()}, usage=ledger.usage)
    server = AdminServer(admin_application(operated), listening)
    await server.start()
    try:
        yield
    finally:
        await server.stop()
        REGISTRY.unregister(own)
        if ledger is not None:
            REGISTRY.unregister(ledger)


def _vitals(processor: Standalone) -> Vitals:
    return Vitals(workers_serving=int(processor.serving), worker_restarts=0, envoy_up=None)
