"""``kortex serve``: the processor alone, in one process. Envoy is somebody else's, and may follow files we write."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from pathlib import Path
from typing import Final

from prometheus_client import REGISTRY

from extproc.bootstrap.render import render_clusters, render_listeners
from extproc.bootstrap.xds_files import CLUSTERS, LISTENERS, write_json
from extproc.config.load import ConfigError
from extproc.credentials.store import TokenStore
from extproc.exchange.pricing import load_vocabularies
from extproc.exchange.snapshot import Snapshot
from extproc.quota.store import StoreUnavailable
from extproc.server.board_keeper import BoardKeeper
from extproc.server.board_link import BoardLink
from extproc.server.counting import Counting
from extproc.server.fixed_at_start import FixedAtStart, check_fixed_at_start
from extproc.server.health_watch import HealthWatch, statistics_of
from extproc.server.history import History
from extproc.server.quota_watch import QuotaWatch
from extproc.server.recording import recording_for
from extproc.server.reload import FIRST_TOKEN_SECONDS, Serving, build_snapshot, token_requests
from extproc.server.standard_output import StandardOutput
from extproc.server.worker import Worker

_LOG: Final = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.05
_ENVOY_SECONDS: Final = 0.3
"""How long an Envoy that watches a file gets to take it up, before the listeners that need the clusters are written and
before requests are sent to either. It takes milliseconds, but nothing tells us.
"""


class Standalone:
    """One processor at ``address`` (``unix:/path`` or ``host:port``). Raises ConfigError at once for an invalid config.

    ``envoy_admin`` is the address of Envoy's admin interface, whose health checks are then heeded.
    ``xds_directory`` is where Envoy's clusters and listeners are written, at the start and at each reload.
    """

    def __init__(
        self, address: str, text: bytes, *, xds_directory: Path | None = None, envoy_admin: str | None = None
    ) -> None:
        self._tokens = TokenStore()
        snapshot = build_snapshot(text, number=1, tokens=self._tokens)
        load_vocabularies(snapshot)
        self._serving = Serving(snapshot)
        self._output = StandardOutput()
        self._xds_directory = xds_directory
        self._envoy_admin = envoy_admin
        self.board = BoardKeeper(snapshot)
        self.quota = QuotaWatch()
        self._background: list[asyncio.Task[None]] = []
        link = BoardLink(lambda seen: self.board.seen(0, seen))
        self.board.attach(0, link.known)
        self._counting = Counting(REGISTRY)
        self._recording = recording_for(snapshot.config, REGISTRY, link, self._counting, self._output.write_line)
        self._worker = Worker(address, self._serving, self._recording, link, self._counting)
        self._reloading = asyncio.Lock()
        self._offered = 1
        self._listening = False
        self._draining = False
        self.history = History(snapshot)

    @property
    def snapshot(self) -> Snapshot:
        """What new requests are served by."""
        return self._serving.snapshot

    @property
    def serving(self) -> bool:
        """Whether Envoy may send requests."""
        return self._listening and not self._draining

    async def ready(self) -> dict[str, bool]:
        """Each condition of readiness, by name."""
        return {"config": True, "listening": self._listening, "accepting": not self._draining}

    async def start(self) -> str:
        """Returns where it listens.

        Raises RuntimeError when that cannot be had, OSError for files not written, StoreUnavailable for a quota.url.
        """
        self._counting.configure(self.snapshot)
        await self._take_tokens(self.snapshot)
        await self._offer(self.snapshot)
        await self._worker.start()
        self._background = [
            asyncio.create_task(self.board.run()),
            asyncio.create_task(self.quota.run(lambda: self.snapshot)),
        ]
        if self._envoy_admin is not None:
            watch = HealthWatch(partial(statistics_of, self._envoy_admin), self.board)
            self._background.append(asyncio.create_task(watch.run(lambda: self.snapshot)))
        self._listening = True
        return self._worker.address

    async def reload(self, text: bytes) -> None:
        """Serve another config, or say why not in log and history. Running requests finish on what they began with."""
        async with self._reloading:
            before = self.snapshot
            try:
                self._offered += 1
                snapshot = await asyncio.to_thread(build_snapshot, text, number=self._offered, tokens=self._tokens)
                check_fixed_at_start(before, snapshot)
                self._counting.configure(snapshot)
                await self._take_tokens(snapshot)
                load_vocabularies(snapshot)
                await self._offer(snapshot)
            except (ConfigError, FixedAtStart, OSError, StoreUnavailable) as error:
                _LOG.error("config not reloaded, number %d stays in force: %s", before.number, error)
                self.history.refuse(str(error))
                return
            self._serving.swap(snapshot, now=time.monotonic())
            self.board.configure(snapshot)
            self._tokens.keep_only(token_requests(self._serving.targets.values()))
            self.history.accept(snapshot)
            _LOG.info("config reloaded, number %d is in force", snapshot.number)

    async def drain(self) -> None:
        """Report not serving, and wait until nothing runs or the grace period is over.

        Streams are still accepted: a request under way opens one for each of its attempts.
        """
        self._draining = True
        await self._worker.drain()
        deadline = time.monotonic() + self.snapshot.config.gateway.drain / 1_000
        while self._worker.open_streams and time.monotonic() < deadline:  # noqa: ASYNC110 - once in a life
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """End, with what still runs."""
        self._draining = True
        for task in self._background:
            task.cancel()
        await self._worker.stop(0)
        await asyncio.to_thread(self._recording.close)
        self._tokens.close()
        await self._counting.stop()
        self._output.flush()

    async def _take_tokens(self, snapshot: Snapshot) -> None:
        await self._tokens.take_up(token_requests(snapshot.targets.values()), within=FIRST_TOKEN_SECONDS)

    async def _offer(self, snapshot: Snapshot) -> None:
        """Clusters, then the listeners that use them; with the targets that a request under way may still need."""
        if self._xds_directory is None:
            return
        targets = {**self._serving.targets, **snapshot.targets}.values()
        # Another version than any that a processor before this one has written.
        version = f"{snapshot.number}-{round(snapshot.loaded_at * 1_000)}"
        self._xds_directory.mkdir(parents=True, exist_ok=True)
        for name, content in (
            (CLUSTERS, render_clusters(targets, version=version)),
            (LISTENERS, render_listeners(snapshot, targets, version=version)),
        ):
            write_json(self._xds_directory / name, content)
            await asyncio.sleep(_ENVOY_SECONDS)
