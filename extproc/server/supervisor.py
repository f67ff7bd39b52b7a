"""``kortex run``: owns one Envoy and its workers. Starts them, reloads them in step, drains them, ends them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from extproc.bootstrap.placement import Placement
from extproc.bootstrap.process import EnvoyError, EnvoyProcess, Resources
from extproc.bootstrap.xds_files import CLUSTERS, LISTENERS, write_json
from extproc.config.load import ConfigError
from extproc.credentials.secrets import FilesRead
from extproc.exchange.snapshot import Snapshot
from extproc.server.board_keeper import BoardKeeper
from extproc.server.control import Configure, Serve
from extproc.server.fixed_at_start import FixedAtStart, check_fixed_at_start
from extproc.server.health_watch import HealthWatch
from extproc.server.history import History
from extproc.server.quota_watch import QuotaWatch
from extproc.server.reload import Serving, build_snapshot
from extproc.server.worker_process import Told, WorkerError, WorkerProcess

_LOG: Final = logging.getLogger(__name__)
_APPLY_SECONDS: Final = 15.0
_WARM_SECONDS: Final = 3.0
_START_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.1
_STOP_SECONDS: Final = 5.0
_MOST_HANDED_ON: Final = 64 << 20
"""Bytes of a file. A larger one, of half a million keys, each worker reads for itself."""


class StartError(Exception):
    """Kortex cannot start; the message is for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """``directory`` is a private run directory; its path must be short, for Unix sockets live in it."""

    envoy: Path
    workers: int
    directory: Path
    system_ca: str


class Supervisor:
    """The parent process. Raises ConfigError at once when ``text`` is no valid config."""

    def __init__(self, setup: Setup, text: bytes) -> None:
        self._setup = setup
        files: FilesRead = {}
        snapshot = build_snapshot(text, number=1, files=files)
        self._serving = Serving(snapshot)
        self._placement = Placement(
            xds_directory=str(setup.directory),
            workers=tuple(f"unix:{setup.directory / f'worker-{index}.sock'}" for index in range(setup.workers)),
            admin=f"unix:{setup.directory / 'envoy-admin.sock'}",
            system_ca=setup.system_ca,
        )
        self._configs = [(snapshot, _configure(snapshot, text, files))]
        self.metrics_directory = setup.directory / "metrics"
        self.metrics_directory.mkdir()
        self.board = BoardKeeper(snapshot)
        self.quota = QuotaWatch()
        self._background: list[asyncio.Task[None]] = []
        self.workers = tuple(
            WorkerProcess(index, address, self.metrics_directory, self._told, self.board)
            for index, address in enumerate(self._placement.workers)
        )
        self.envoy = EnvoyProcess(setup.envoy, setup.directory / "envoy-admin.sock")
        self.history = History(snapshot)
        self._reloading = asyncio.Lock()
        self._offered = 1
        self.draining = False

    @property
    def snapshot(self) -> Snapshot:
        """What new requests are served by."""
        return self._serving.snapshot

    async def ready(self) -> dict[str, bool]:
        """Each condition of readiness, by name."""
        return {
            "config": True,
            "workers": any(worker.serving for worker in self.workers),
            "envoy": self.envoy.running and await self.envoy.live(),
            "accepting": not self.draining,
        }

    async def start(self) -> None:
        """Workers first, then Envoy. Raises StartError."""
        watch = HealthWatch(self.envoy.statistics, self.board)
        self._background = [
            asyncio.create_task(self.board.run()),
            asyncio.create_task(watch.run(lambda: self.snapshot)),
            asyncio.create_task(self.quota.run(lambda: self.snapshot)),
        ]
        try:
            bootstrap = self._setup.directory / "envoy.json"
            await asyncio.gather(
                asyncio.to_thread(self._write_everything, bootstrap), *(worker.start() for worker in self.workers)
            )
            await self.envoy.start(bootstrap, "--concurrency", str(self._setup.workers))
            for resources in Resources:
                await self.envoy.wait_applied(resources, _version(self.snapshot), refused=0, within=_START_SECONDS)
            await self.envoy.wait_live(_START_SECONDS)
        except EnvoyError as error:
            message = f"Envoy cannot start: {error}"
            raise StartError(message) from error
        except WorkerError as error:
            message = f"a worker cannot start: {error}"
            raise StartError(message) from error

    async def listening(self) -> str:
        """``host:port`` that clients connect to, as it was really taken. Raises EnvoyError."""
        from extproc.bootstrap.edge import NAME  # noqa: PLC0415 - see _render

        return await self.envoy.listening(NAME)

    async def reload(self, text: bytes) -> None:
        """Serve another config, or say why not in log and history; nothing in between, and nothing is ever interrupted.

        Envoy learns the new targets beside the old, then every worker does, and only then do they plan with them: no
        request is sent where nobody listens, and its attempt may be served by another worker than its arrival. Old
        targets stay for the requests that still walk an old plan.
        """
        async with self._reloading:
            before = self.snapshot
            try:
                self._offered += 1
                files: FilesRead = {}
                snapshot = await asyncio.to_thread(build_snapshot, text, number=self._offered, files=files)
                check_fixed_at_start(before, snapshot)
                await self._take(snapshot, _configure(snapshot, text, files))
            except (ConfigError, EnvoyError, WorkerError, FixedAtStart) as error:
                _LOG.error("config not reloaded, number %d stays in force: %s", before.number, error)
                self.history.refuse(str(error))
                return
            self.history.accept(snapshot)
            _LOG.info("config reloaded, number %d is in force", snapshot.number)

    async def drain(self) -> None:
        """Turn new connections away, and wait for what runs: until nothing does, or the grace period is over."""
        self.draining = True
        grace = self.snapshot.config.gateway.drain / 1_000
        deadline = time.monotonic() + grace
        try:
            await self.envoy.drain()
            while time.monotonic() < deadline and await self.envoy.active_requests():  # noqa: ASYNC110 - Envoy tells no event
                await asyncio.sleep(_POLL_SECONDS)
        except EnvoyError as error:
            _LOG.warning("could not drain Envoy: %s", error)

    async def stop(self) -> None:
        """End everything."""
        self.draining = True
        for task in self._background:
            task.cancel()
        await self.envoy.stop(_STOP_SECONDS)
        await asyncio.gather(*(worker.stop(_STOP_SECONDS) for worker in self.workers))

    async def _take(self, snapshot: Snapshot, configure: Configure) -> None:
        before = self.snapshot
        self._configs.append((snapshot, configure))
        try:
            await self._offer(snapshot)
            await self._tell_all(configure)
        except (EnvoyError, WorkerError):
            self._configs.remove((snapshot, configure))
            with contextlib.suppress(EnvoyError):
                await self._offer(before)
            raise
        self._serving.swap(snapshot, now=time.monotonic())
        try:
            await self._tell_all(Serve(number=snapshot.number))
        except WorkerError as error:
            # It knows the config, so nothing is wrong with that, and no request of the others fails at it. One that was
            # only late takes it up when it comes to it; one that does not is ended, and its next life begins with it.
            _LOG.error("config %d serves, but not everywhere: %s", snapshot.number, error)
        self.board.configure(snapshot)
        retained = self._serving.retained
        self._configs = [
            (known, told if known is snapshot else _without_keys(known, told))
            for known, told in self._configs
            if known in retained
        ]

    async def _tell_all(self, message: Configure | Serve) -> None:
        """Until all have answered. Raises WorkerError with the first refusal."""
        answers = await asyncio.gather(*(worker.tell(message) for worker in self.workers), return_exceptions=True)
        for answer in answers:
            if answer is not None:
                raise answer

    async def _offer(self, snapshot: Snapshot) -> None:
        """Clusters, then listeners: a listener whose cluster is not there yet would be refused for good."""
        version = _version(snapshot)
        clusters, listeners = self._render(snapshot)
        for resources, name, content in (
            (Resources.CLUSTERS, CLUSTERS, clusters),
            (Resources.LISTENERS, LISTENERS, listeners),
        ):
            refused = (await self.envoy.applied(resources)).refused
            write_json(self._setup.directory / name, content)
            await self.envoy.wait_applied(resources, version, refused=refused, within=_APPLY_SECONDS)
        await self.envoy.wait_warm(_WARM_SECONDS)

    def _write_everything(self, bootstrap: Path) -> None:
        """What Envoy starts with."""
        from extproc.bootstrap.render import render_bootstrap  # noqa: PLC0415 - see _render

        clusters, listeners = self._render(self.snapshot)
        write_json(self._setup.directory / CLUSTERS, clusters)
        write_json(self._setup.directory / LISTENERS, listeners)
        write_json(bootstrap, render_bootstrap(self.snapshot.config, self._placement))

    def _render(self, snapshot: Snapshot) -> tuple[dict[str, Any], dict[str, Any]]:
        """Envoy's clusters and listeners: the snapshot's, and those that a request under way may still need.

        Envoy's message types take most of a second to import: while the workers start, and not before them.
        """
        from extproc.bootstrap.render import render_clusters, render_listeners  # noqa: PLC0415 - as the docstring says

        targets = {**self._serving.targets, **snapshot.targets}
        version = _version(snapshot)
        return (
            render_clusters(targets.values(), version=version),
            render_listeners(snapshot, targets.values(), version=version),
        )

    def _told(self) -> Told:
        return Told(configs=[configure for _, configure in self._configs], serves=self.snapshot.number)


def _configure(snapshot: Snapshot, text: bytes, files: FilesRead) -> Configure:
    handed_on = {path: content.decode() for path, content in files.items() if len(content) <= _MOST_HANDED_ON}
    return Configure(number=snapshot.number, text=text.decode(), files=handed_on)


def _without_keys(snapshot: Snapshot, told: Configure) -> Configure:
    """Nobody is let in by a config that serves no more, and its file of keys may be large."""
    path = snapshot.config.keys_file
    return told if path not in told.files else replace(told, files={**told.files, path: ""})


def _version(snapshot: Snapshot) -> str:
    return str(snapshot.number)
