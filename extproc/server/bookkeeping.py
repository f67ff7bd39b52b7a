"""The ledger of a running gateway: its writer's life, what operators see of it, and what they may ask it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from extproc.config.ledger import Ledger
from extproc.credentials.secrets import read_secret
from extproc.ledger.database import Database
from extproc.ledger.question import BadQuestion, read_question
from extproc.ledger.report import report
from extproc.ledger.writer import Kept, Writer

_PARAMETERS: Final = ("by", "since", "until")


class Bookkeeping(Collector):
    """One writer in a thread, and a second database connection for those who ask."""

    def __init__(self, settings: Ledger, environment: Mapping[str, str]) -> None:
        kept = Kept(records=settings.retention, summaries=settings.summary_retention)
        self._reader = open_database(settings, environment)
        self._writer = Writer(Path(settings.spool_directory), open_database(settings, environment), kept)

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Inside the block, what is spooled is booked; at its end, what came last."""
        self._writer.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self._writer.stop)
            self._reader.close()

    def degraded(self) -> dict[str, str]:
        """What does not keep the gateway from serving, but somebody should mend."""
        problem = self._writer.status.problem
        return {} if problem is None else {"ledger": f"records wait in the spool: {problem}"}

    def usage(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """The answer to ``GET /usage``, JSON-ready; blocks while the database works. Raises BadQuestion."""
        unknown = sorted(set(parameters) - set(_PARAMETERS))
        if unknown:
            raise BadQuestion(f"unknown parameter {unknown[0][:40]!r}: there are {', '.join(_PARAMETERS)}")
        question = read_question(*(parameters.get(name) for name in _PARAMETERS), now=time.time())
        return {"by": question.by, "usage": report(self._reader, question)}

    def collect(self) -> Iterator[Metric]:
        """For each scrape."""
        status = self._writer.status
        records = CounterMetricFamily("kortex_ledger_records", "Records written to the ledger.", labels=("kind",))
        records.add_metric(("attempt",), status.attempts)
        records.add_metric(("exchange",), status.exchanges)
        yield records
        yield GaugeMetricFamily(
            "kortex_ledger_up", "1 while the ledger's database takes records.", int(status.problem is None)
        )
        yield GaugeMetricFamily(
            "kortex_ledger_spooled_bytes", "Bytes of records that wait for the database.", status.waiting_bytes
        )
        lag = 0.0 if status.oldest_ms is None else max(0.0, time.time() - status.oldest_ms / 1_000)
        yield GaugeMetricFamily("kortex_ledger_lag_seconds", "Age of the oldest record that waits.", lag)
        yield CounterMetricFamily(
            "kortex_ledger_damaged_records", "Lines of the spool that could not be read.", status.damaged
        )
        yield CounterMetricFamily(
            "kortex_ledger_refused_records", "Records that the database will not take.", status.refused
        )
        yield CounterMetricFamily(
            "kortex_ledger_deleted_rows", "Rows deleted because they were too old.", status.deleted
        )


def open_database(settings: Ledger, environment: Mapping[str, str]) -> Database:
    """The configured one; nothing is connected to yet. Raises SecretUnavailable."""
    password = None if settings.password is None else read_secret(settings.password, environment).reveal()
    return Database(settings.url, password)
