"""The life of ``kortex run``: find everything, start, say so, serve, drain, end. Returns the process's exit code."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from rich.console import Console

from extproc.bootstrap.process import find_envoy
from extproc.bootstrap.system_roots import find_system_roots
from extproc.cli.banner import Served, print_banner
from extproc.cli.bookkeeping import bookkeeping
from extproc.cli.console import FAILED
from extproc.cli.envoy_binary import envoy_version
from extproc.cli.run_directory import run_directory
from extproc.cli.signals import SIGNALLED, StopSignals, first_of
from extproc.cli.source import Source, find_source
from extproc.cli.watching import watching
from extproc.server.addresses import AddressUnavailable, check_free, listen, spell_address
from extproc.server.admin import AdminServer, Operated, admin_application
from extproc.server.backends_page import describe_backends
from extproc.server.logs import log_to_standard_error
from extproc.server.self_metrics import SelfMetrics, Vitals
from extproc.server.supervisor import Setup, Supervisor
from extproc.server.zero_config import ADMIN, LISTEN
from extproc.telemetry.worker_metrics import WorkerMetrics

if TYPE_CHECKING:
    from extproc.server.bookkeeping import Bookkeeping

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line said."""

    config: Path | None
    workers: int
    envoy: Path | None


async def run_gateway(options: Options) -> int:
    """Raises ConfigError, ConfigUnreadable, AddressUnavailable, EnvoyError, StartError and Failed before it serves."""
    signals = StopSignals()
    envoy = find_envoy(None if options.envoy is None else str(options.envoy))
    source, version = await asyncio.gather(find_source(options.config), asyncio.to_thread(envoy_version, envoy))
    with run_directory() as directory:
        setup = Setup(envoy=envoy, workers=options.workers, directory=directory, system_ca=find_system_roots())
        supervisor = Supervisor(setup, source.text)
        gateway = supervisor.snapshot.config.gateway
        log_to_standard_error(gateway.log_level)
        with _told_where(source, listen=LISTEN):
            check_free(gateway.listen)
        with _told_where(source, admin=ADMIN):
            admin_socket = listen(gateway.admin)
        async with (
            bookkeeping(supervisor.snapshot.config) as ledger,
            _admin(supervisor, admin_socket, ledger),
            _stopped(supervisor),
        ):
            if not await _started(supervisor, signals):
                return 0
            served = Served(
                snapshot=supervisor.snapshot,
                config=source.name,
                listen=await supervisor.listening(),
                admin=spell_address(admin_socket),
                envoy_version=version,
                workers=options.workers,
                sources=source.sources,
                notes=source.notes,
            )
            print_banner(Console(), served)
            gc.freeze()
            gc.enable()
            return await _serve(supervisor, source, signals)


@contextlib.contextmanager
def _told_where(source: Source, **setting: str) -> Iterator[None]:
    """An address that cannot be had is told with what sets it: the key under ``gateway``, or the variable."""
    try:
        yield
    except AddressUnavailable as error:
        ((key, variable),) = setting.items()
        named = variable if source.path is None else f"gateway.{key}"
        message = f"{error}; {named} sets the address"
        raise AddressUnavailable(message) from error


async def _serve(supervisor: Supervisor, source: Source, signals: StopSignals) -> int:
    """Until a signal comes, or Envoy ends by itself."""
    ended = asyncio.ensure_future(supervisor.envoy.wait())
    async with watching(source, supervisor):
        await first_of(ended, signals.first)
    if ended.done():
        return _mourn(supervisor, ended.result())
    _LOG.info("draining; a second signal ends everything at once")
    draining = asyncio.ensure_future(supervisor.drain())
    await first_of(ended, draining, signals.second)
    if signals.second.done():
        draining.cancel()
        return SIGNALLED + signals.second.result()
    if ended.done():
        draining.cancel()
        return _mourn(supervisor, ended.result())
    ended.cancel()
    return 0


def _mourn(supervisor: Supervisor, code: int) -> int:
    _LOG.error("Envoy ended by itself with code %d: %s", code, supervisor.envoy.last_words() or "it said nothing")
    return FAILED


async def _started(supervisor: Supervisor, signals: StopSignals) -> bool:
    """False when a signal came first. Raises StartError."""
    starting = asyncio.ensure_future(supervisor.start())
    await first_of(starting, signals.first)
    if starting.done():
        starting.result()
        return True
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    return False


@contextlib.asynccontextmanager
async def _stopped(supervisor: Supervisor) -> AsyncIterator[None]:
    """However the block ends, no process is left."""
    try:
        yield
    finally:
        await supervisor.stop()


@contextlib.asynccontextmanager
async def _admin(supervisor: Supervisor, listening: socket.socket, ledger: Bookkeeping | None) -> AsyncIterator[None]:
    """From before the start, so that readiness can be seen coming, until the end, so that draining can."""
    registry = CollectorRegistry()
    registry.register(WorkerMetrics(supervisor.metrics_directory))
    registry.register(SelfMetrics(supervisor.history, lambda: _vitals(supervisor), supervisor.board))
    operated = Operated(
        ready=supervisor.ready,
        degraded=lambda: supervisor.quota.degraded,
        describe=supervisor.history.describe,
        backends=lambda: describe_backends(supervisor.snapshot, supervisor.board.overview()),
        registry=registry,
        snapshot=lambda: supervisor.snapshot,
        states=supervisor.board.overview,
        envoy=supervisor.envoy.prometheus,
    )
    if ledger is not None:
        registry.register(ledger)
        degraded = ledger.degraded
        operated = replace(operated, degraded=lambda: {**supervisor.quota.degraded, **degraded()}, usage=ledger.usage)
    server = AdminServer(admin_application(operated), listening)
    await server.start()
    try:
        yield
    finally:
        await server.stop()


def _vitals(supervisor: Supervisor) -> Vitals:
    return Vitals(
        workers_serving=sum(worker.serving for worker in supervisor.workers),
        worker_restarts=sum(worker.restarts for worker in supervisor.workers),
        envoy_up=supervisor.envoy.running,
    )
