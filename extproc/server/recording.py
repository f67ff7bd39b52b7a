"""The Recorder that the streams are given: metrics, board and quota, and where they are on ledger, traces and log."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from extproc.config.gateway import Config
from extproc.config.tracing import Tracing
from extproc.credentials.secrets import FilesRead, read_secret
from extproc.exchange.attempt import Attempt
from extproc.exchange.outcome import Outcome
from extproc.exchange.refusal import Refusal
from extproc.ledger.entry import attempt_entry, begun_entry, refusal_entry
from extproc.ledger.spool import Spool
from extproc.routing.decision import Decision
from extproc.server.board_link import BoardLink
from extproc.server.counting import Counting
from extproc.telemetry.access_log import AccessLog
from extproc.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from extproc.telemetry.tracing import Tracer


class Recording:
    """Tells each of them what it wants to know."""

    def __init__(
        self,
        metrics: Metrics,
        board: BoardLink,
        counting: Counting,
        *,
        access_log: AccessLog | None,
        spool: Spool | None,
        tracer: Tracer | None,
    ) -> None:
        self._metrics = metrics
        self._board = board
        self._counting = counting
        self._access_log = access_log
        self._spool = spool
        self._tracer = tracer

    def refused(self, refusal: Refusal) -> None:
        """See Recorder."""
        if self._spool is not None:
            entry = refusal_entry(refusal)
            if entry is not None and not self._spool.write(entry):
                self._metrics.unrecorded()
        self._metrics.refused(refusal)
        if self._tracer is not None:
            self._tracer.refused(refusal)

    def decided(self, decision: Decision) -> None:
        """See Recorder."""
        self._metrics.decided(decision)

    def begun(self, attempt: Attempt, request_id: str | None) -> None:
        """See Recorder."""
        entry = None if self._spool is None else begun_entry(attempt, request_id)
        if self._spool is not None and entry is not None:
            self._spool.write(entry)
        self._metrics.begun(attempt)
        self._board.begun(attempt)

    def settled(self, outcome: Outcome, request_id: str | None) -> None:
        """See Recorder."""
        if self._spool is not None and not self._spool.write(attempt_entry(outcome, request_id)):
            self._metrics.unrecorded()

    def ended(self, outcome: Outcome, request_id: str | None) -> None:
        """See Recorder."""
        self._metrics.ended(outcome, request_id)
        self._board.ended(outcome)
        self._counting.ended(outcome)
        if self._access_log is not None:
            self._access_log.ended(outcome, request_id)
        if self._tracer is not None:
            self._tracer.ended(outcome, request_id)

    def close(self) -> None:
        """What is still in memory goes where it belongs; may take a few seconds."""
        if self._spool is not None:
            self._spool.close()
        if self._tracer is not None:
            self._tracer.close()


def recording_for(
    config: Config,
    registry: CollectorRegistry,
    board: BoardLink,
    counting: Counting,
    write_line: Callable[[bytes], object],
    files: FilesRead | None = None,
) -> Recording:
    """What a configuration asks for; lines of the access log go to ``write_line``.

    Its secrets have been read once already, and can be had: those of files from ``files``.
    """
    ledger, tracing = config.ledger, config.gateway.tracing
    return Recording(
        Metrics(registry),
        board,
        counting,
        access_log=AccessLog(write_line) if config.gateway.access_log else None,
        spool=None if ledger is None else Spool(Path(ledger.spool_directory), limit=ledger.spool_limit),
        tracer=None if tracing is None else _tracer(tracing, files),
    )


def _tracer(settings: Tracing, files: FilesRead | None) -> Tracer:
    """OpenTelemetry takes most of a second to import, which only who wants traces waits for."""
    from extproc.telemetry.tracing import Tracer  # noqa: PLC0415 - as the docstring says

    headers = {name: read_secret(ref, os.environ, files).reveal() for name, ref in settings.headers.items()}
    return Tracer(settings, headers)
