"""What Envoy's active health checks have found, brought to the board: a server that fails them is asked last."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

import httpx

from extproc.bootstrap.names import provider_cluster_name
from extproc.bootstrap.process import EnvoyError
from extproc.exchange.snapshot import Snapshot
from extproc.server.board_keeper import BoardKeeper

_EVERY: Final = 0.5
"""Seconds."""
_FILTER: Final = r"^cluster\.provider/.*\.health_check\.(attempt|healthy)$"
_LINE: Final = re.compile(r"^cluster\.(?P<cluster>.+)\.health_check\.(?P<name>attempt|healthy): (?P<value>\d+)$")


class HealthWatch:
    """``statistics`` gives Envoy's statistics that match a regular expression; it may raise EnvoyError."""

    def __init__(self, statistics: Callable[[str], Awaitable[str]], board: BoardKeeper) -> None:
        self._statistics = statistics
        self._board = board

    async def run(self, snapshot: Callable[[], Snapshot]) -> None:
        """Until it is cancelled. An Envoy that does not answer tells nothing new."""
        while True:
            await asyncio.sleep(_EVERY)
            targets = [target for target in snapshot().targets.values() if target.settings.checked_path is not None]
            if not targets:
                continue
            try:
                found = healthy_clusters(await self._statistics(_FILTER))
            except EnvoyError:
                continue
            for target in targets:
                healthy = found.get(provider_cluster_name(target))
                if healthy is not None:
                    problem = f"no 200 from {target.settings.checked_path}"
                    self._board.checked(target.backend, None if healthy else problem)


async def statistics_of(envoy_admin: str, matching: str) -> str:
    """The statistics of an Envoy that is somebody else's, at the ``http://…`` of its admin interface."""
    try:
        async with httpx.AsyncClient(timeout=5.0) as client:
            reply = await client.get(f"{envoy_admin.rstrip('/')}/stats", params={"filter": matching})
    except httpx.HTTPError as error:
        message = "its admin interface does not answer"
        raise EnvoyError(message) from error
    return reply.text


def healthy_clusters(statistics: str) -> dict[str, bool]:
    """By cluster, whether its server passes; one that has not been checked yet is missing."""
    counts: dict[str, dict[str, int]] = {}
    for line in statistics.splitlines():
        found = _LINE.match(line)
        if found is not None:
            counts.setdefault(found["cluster"], {})[found["name"]] = int(found["value"])
    return {cluster: bool(own.get("healthy")) for cluster, own in counts.items() if own.get("attempt")}
