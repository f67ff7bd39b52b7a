"""The Recorder that the streams are given: metrics, backends' states, limits and budgets, and the access log."""

from __future__ import annotations

from extproc.errors import KortexError
from extproc.exchange.attempt import Attempt
from extproc.exchange.outcome import Outcome
from extproc.server.board_link import BoardLink
from extproc.server.counting import Counting
from extproc.telemetry.access_log import AccessLog
from extproc.telemetry.metrics import Metrics


class Recording:
    """Tells each of them what it wants to know."""

    def __init__(self, metrics: Metrics, access_log: AccessLog | None, board: BoardLink, counting: Counting) -> None:
        self._metrics = metrics
        self._board = board
        self._counting = counting
        self._access_log = access_log

    def refused(self, error: KortexError) -> None:
        """See Recorder."""
        self._metrics.refused(error)

    def begun(self, attempt: Attempt) -> None:
        """See Recorder."""
        self._metrics.begun(attempt)
        self._board.begun(attempt.target.backend)

    def ended(self, outcome: Outcome, request_id: str | None) -> None:
        """See Recorder."""
        self._metrics.ended(outcome, request_id)
        self._board.ended(outcome)
        self._counting.ended(outcome)
        if self._access_log is not None:
            self._access_log.ended(outcome, request_id)
