"""``python -m tests.bench.ledger``: what a record costs worker and writer, and how long a million take to report."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from extproc.ledger.booking import book
from extproc.ledger.columns import TOKENS
from extproc.ledger.database import Database
from extproc.ledger.question import read_question
from extproc.ledger.report import report
from extproc.ledger.spool import Spool

_BATCH = 2_000
_MONTH_MS = 30 * 86_400_000
_SPOOLED = 20_000


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ledger", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--url", help="a PostgreSQL database, with its password in PGPASSWORD; default: a SQLite file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _spool(Path(folder))
        database = Database(arguments.url or f"sqlite:///{folder}/usage.db")
        _write(database, arguments.records)
        for by in ("day,model", "key,model,day", "tenant,month", "user", "hour", "user,model,month", "user,day"):
            question = read_question(by, None, None, now=0.0)
            began, busy = time.perf_counter(), time.process_time()
            rows = report(database, question)
            busy, took = time.process_time() - busy, time.perf_counter() - began
            print(f"report by {by}: {took:.2f} s, of them {busy:.2f} s of CPU, {len(rows)} rows")
        database.close()


def _spool(folder: Path) -> None:
    spool = Spool(folder / "spool", limit=1 << 30)
    entries = list(_entries(_SPOOLED))
    began = time.perf_counter()
    for entry in entries:
        spool.write(entry)
    print(f"a record in the spool: {(time.perf_counter() - began) / _SPOOLED * 1e6:.1f} µs")
    spool.close()


def _write(database: Database, count: int) -> None:
    database.prepare()
    entries = _entries(count)
    spent = 0.0
    while batch := list(islice(entries, _BATCH)):
        began = time.perf_counter()
        with database.writing() as connection:
            book(connection, batch)
        spent += time.perf_counter() - began
    print(f"{count} records written: {count / spent:.0f} a second")


def _entries(count: int) -> Iterator[dict[str, Any]]:
    """A month of 40 tenants with 200 keys and 2,000 users, who ask 12 models."""
    chance = random.Random(1)
    for number in range(count):
        user = chance.randrange(2_000)
        model = f"model-{chance.randrange(12)}"
        yield {
            **dict.fromkeys(("request_id", "decision", "rule", "experiments", *TOKENS)),
            "kind": "attempt",
            "exchange": f"{number:032x}",
            "attempt": 1,
            "final": True,
            "ended_ms": 1_790_000_000_000 + number * _MONTH_MS // count,
            "key": f"key-{user % 200}",
            "tenant": f"tenant-{user % 40}",
            "user": f"user-{user}",
            "route": "production",
            "operation": "chat",
            "stream": True,
            "requested_model": model,
            "model": model,
            "served_model": f"{model}-2026-01-01",
            "backend": f"backend-{model[-1]}",
            "provider": "openai",
            "status": 200,
            "outcome": "answered",
            "tries": 1,
            "input_tokens": chance.randrange(8_000),
            "output_tokens": chance.randrange(1_000),
            "usage_source": "reported",
            "cost": f"0.{chance.randrange(10**9):012}",
            "currency": "USD",
            "first_token_ms": 300.0,
            "duration_ms": 2_000.0,
            "request_ms": 2_005.0,
        }


if __name__ == "__main__":
    main()
