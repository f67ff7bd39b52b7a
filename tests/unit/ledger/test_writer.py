"""From the spool into the database: each record once, whatever ends, dies or comes again."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from extproc.ledger.database import Database
from extproc.ledger.question import read_question
from extproc.ledger.report import report
from extproc.ledger.schema import ATTEMPTS, EXCHANGES
from extproc.ledger.spool import Spool, to_line
from extproc.ledger.writer import Kept, Writer
from tests.fakes.postgres_server import PASSWORD, PostgresServer
from tests.unit.ledger.conftest import NOW, MakeEntry


def put(directory: Path, *entries: Mapping[str, Any]) -> None:
    """As a worker that has ended."""
    spool = Spool(directory, limit=1 << 30)
    assert all(spool.write(entry) for entry in entries)
    spool.close()


def counted(database: Database) -> tuple[int, int]:
    """Rows of attempts and exchanges."""
    with database.reading() as connection:
        return (
            connection.execute(select(func.count()).select_from(ATTEMPTS)).scalar_one(),
            connection.execute(select(func.count()).select_from(EXCHANGES)).scalar_one(),
        )


def totals(database: Database, by: str = "currency") -> list[dict[str, Any]]:
    """Everything in a row or two."""
    question = read_question("month" if by == "currency" else by, None, None, now=NOW)
    return report(database, question)


def test_a_record_becomes_rows_and_sums(
    writer: Writer, database: Database, spool_directory: Path, make_entry: MakeEntry
) -> None:
    """With every field that was kept."""
    entry = make_entry()
    put(spool_directory, entry)
    assert writer.catch_up()
    with database.reading() as connection:
        attempt = dict(connection.execute(select(ATTEMPTS)).mappings().one())
        exchange = dict(connection.execute(select(EXCHANGES)).mappings().one())
    assert attempt == {name: value for name, value in entry.items() if name not in {"kind", "final", "request_ms"}}
    assert (exchange["attempts"], exchange["duration_ms"], exchange["first_token_ms"]) == (1, 310.0, 22.5)
    (sums,) = totals(database)
    assert (sums["requests"], sums["input_tokens"], sums["cost"], sums["currency"]) == (1, 100, "0.00045", "USD")
    assert list(spool_directory.glob("*.jsonl")) == []


def test_a_record_that_comes_again_changes_nothing(
    writer: Writer, database: Database, spool_directory: Path, make_entry: MakeEntry
) -> None:
    """After a crash between commit and removal, in the same batch or in another."""
    first, second = make_entry(), make_entry()
    put(spool_directory, first, second, first)
    assert writer.catch_up()
    before = totals(database)
    put(spool_directory, first, second)
    assert writer.catch_up()
    assert counted(database) == (2, 2)
    assert totals(database) == before


def test_a_failover_is_two_attempts_and_one_exchange(
    writer: Writer, database: Database, spool_directory: Path, make_entry: MakeEntry
) -> None:
    """The first attempt's tokens and money count, whichever worker's record is read first."""
    failed = make_entry(outcome="truncated", final=False, backend="first", cost="0.1")
    answered = make_entry(exchange=failed["exchange"], attempt=2, backend="second", cost="0.02")
    put(spool_directory, answered)
    put(spool_directory, failed)
    assert writer.catch_up()
    assert counted(database) == (2, 1)
    (sums,) = totals(database)
    assert (sums["requests"], sums["attempts"], sums["failed_attempts"], sums["cost"]) == (1, 2, 1, "0.12")


def test_a_refusal_is_an_exchange_without_attempts(writer: Writer, database: Database, spool_directory: Path) -> None:
    """It has a caller and a reason, and nothing else."""
    refusal = {"kind": "refusal", "exchange": "f" * 32, "ended_ms": int(NOW * 1_000), "key": "ci", "status": 429}
    put(spool_directory, refusal | {"outcome": "rate_limit_exceeded", "request_ms": 1.0})
    assert writer.catch_up()
    assert counted(database) == (0, 1)
    (row,) = totals(database, "key,outcome")
    assert (row["key"], row["outcome"], row["requests"], row["refused"]) == ("ci", "rate_limit_exceeded", 1, 1)


def test_money_is_summed_to_the_last_digit(
    writer: Writer, database: Database, spool_directory: Path, make_entry: MakeEntry
) -> None:
    """Where floating point would not, and per currency; what has no price is unknown and not free."""
    costs = ["0.1", "0.2", "0.000000000000000001", "123456789.123456789123456789"]
    put(spool_directory, *(make_entry(cost=cost) for cost in costs), make_entry(cost="7", currency="EUR"))
    put(spool_directory, make_entry(cost=None, currency=None))
    assert writer.catch_up()
    found = {row["currency"]: (row["cost"], row["unpriced_attempts"]) for row in totals(database)}
    assert found == {"USD": ("123456789.42345678912345679", 0), "EUR": ("7", 0), None: (None, 1)}


def test_what_had_no_price_is_counted_beside_what_had_one(
    writer: Writer, database: Database, spool_directory: Path, make_entry: MakeEntry
) -> None:
    """A failed attempt costs nothing that is known; it does not make another row of its backend."""
    put(spool_directory, make_entry(), make_entry(cost=None, currency=None))
    assert writer.catch_up()
    (sums,) = totals(database)
    assert (sums["requests"], sums["unpriced_attempts"], sums["cost"], sums["currency"]) == (2, 1, "0.00045", "USD")


def test_a_record_that_no_database_takes_keeps_no_other_out(
    writer: Writer, database: Database, spool_directory: Path, make_entry: MakeEntry
) -> None:
    """It is counted and named in the log."""
    entries = [make_entry() for _ in range(5)]
    del entries[2]["kind"]
    put(spool_directory, *entries)
    assert writer.catch_up()
    assert counted(database) == (4, 4)
    assert (writer.status.attempts, writer.status.refused) == (4, 1)


def test_what_is_too_old_to_be_kept_is_not_booked_again(
    writer: Writer, database: Database, spool_directory: Path, make_entry: MakeEntry
) -> None:
    """Its row may have been deleted already, and its sum would count twice."""
    put(spool_directory, make_entry(ended_ms=int((NOW - 91 * 86_400) * 1_000)))
    assert writer.catch_up()
    assert totals(database) == []


def test_old_records_are_deleted_and_their_sums_stay(
    spool_directory: Path, database: Database, make_entry: MakeEntry
) -> None:
    """Until those are too old as well."""
    days = [0, 5, 40, 80]
    put(spool_directory, *(make_entry(ended_ms=int((NOW - day * 86_400) * 1_000)) for day in days))
    assert Writer(spool_directory, database, Kept(records=90, summaries=730), now=lambda: NOW).catch_up()
    assert counted(database) == (4, 4)
    later = Writer(spool_directory, database, Kept(records=30, summaries=60), now=lambda: NOW)
    assert later.catch_up()
    assert counted(database) == (2, 2)
    assert sum(row["requests"] for row in totals(database)) == 3
    assert later.status.deleted > 0


def test_postgresql_keeps_a_partition_for_each_month(
    postgres: PostgresServer, spool_directory: Path, make_entry: MakeEntry
) -> None:
    """And drops one that is wholly too old."""
    url = postgres.new_database()
    database = Database(url, PASSWORD)
    put(spool_directory, *(make_entry(ended_ms=int((NOW - day * 86_400) * 1_000)) for day in (0, 80)))

    def partitions() -> set[str]:
        with database.reading() as connection:
            names = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'attempts'::regclass")
            return set(connection.execute(names).scalars())

    assert Writer(spool_directory, database, Kept(records=90, summaries=730), now=lambda: NOW).catch_up()
    assert partitions() == {"attempts_2026_09", "attempts_2026_07"}
    assert Writer(spool_directory, database, Kept(records=30, summaries=730), now=lambda: NOW).catch_up()
    assert partitions() == {"attempts_2026_09"}
    database.close()


def test_records_wait_while_the_database_is_away(
    spool_directory: Path, make_entry: MakeEntry, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed in the middle and back later: nothing is lost, nothing is there twice, and both are said once."""
    with PostgresServer() as server:
        database = Database(server.new_database(), PASSWORD)
        writer = Writer(spool_directory, database, Kept(records=90, summaries=730), now=lambda: NOW)
        put(spool_directory, make_entry())
        assert writer.catch_up()
        server.kill()
        put(spool_directory, make_entry(), make_entry())
        assert not writer.catch_up()
        assert not writer.catch_up()
        assert writer.status.problem
        assert writer.status.waiting_bytes > 0
        assert writer.status.oldest_ms == int(NOW * 1_000)
        server.start()
        assert writer.catch_up()
        assert counted(database) == (3, 3)
        after = writer.status
        assert (after.problem, after.waiting_bytes, after.oldest_ms) == (None, 0, None)
        database.close()
    said = [record.message for record in caplog.records]
    assert sum("records wait in the spool" in line for line in said) == 1
    assert sum("is written again" in line for line in said) == 1
    assert PASSWORD not in caplog.text


def test_a_missing_table_is_the_databases_fault_and_not_the_records(
    writer: Writer, database: Database, spool_directory: Path, make_entry: MakeEntry
) -> None:
    """They wait until somebody mends it."""
    assert writer.catch_up()
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE hours RENAME TO elsewhere"))
    put(spool_directory, make_entry())
    assert not writer.catch_up()
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO hours"))
    assert writer.catch_up()
    assert (counted(database), writer.status.refused) == ((1, 1), 0)


_BOOK_AND_DIE = """
import sys, threading, os, random, time
from pathlib import Path
from extproc.ledger.database import Database
from extproc.ledger.writer import Kept, Writer
kept, now = Kept(records=90, summaries=730), float(sys.argv[3])
writer = Writer(Path(sys.argv[1]), Database(sys.argv[2]), kept, now=lambda: now)
writer._segments.read.__globals__["_READ_BYTES"] = 20_000
writer.start()
print("started", flush=True)
threading.Event().wait()
"""


def test_a_writer_killed_again_and_again_books_each_record_once(
    tmp_path: Path, spool_directory: Path, make_entry: MakeEntry
) -> None:
    """SIGKILL at moments that nobody chose, between read, commit and removal."""
    for _ in range(10):
        put(spool_directory, *(make_entry(cost="0.001") for _ in range(300)))
    url = f"sqlite:///{tmp_path}/usage.db"
    arguments = [sys.executable, "-c", _BOOK_AND_DIE, str(spool_directory), url, str(NOW)]
    for wait in (0.0, 0.05, 0.1, 0.2, 0.3):
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
    database = Database(url)
    assert Writer(spool_directory, database, Kept(records=90, summaries=730), now=lambda: NOW).catch_up()
    assert counted(database) == (3_000, 3_000)
    (sums,) = totals(database)
    assert (sums["requests"], sums["cost"]) == (3_000, "3")
    database.close()


def test_a_reader_is_not_kept_waiting_by_a_transaction(database: Database, writer: Writer) -> None:
    """A report comes while a batch is being booked."""
    assert writer.catch_up()
    entered, done = threading.Event(), threading.Event()

    def write() -> None:
        with database.writing() as connection:
            connection.execute(text("UPDATE ledger_version SET version = version"))
            entered.set()
            done.wait(30)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert entered.wait(30)
        assert totals(database) == []
    finally:
        done.set()
        thread.join()


def test_a_stopped_writer_has_booked_what_was_there(
    writer: Writer, database: Database, spool_directory: Path, make_entry: MakeEntry
) -> None:
    """The last records of a gateway that ends in order are there at once."""
    writer.start()
    spool_directory.mkdir(exist_ok=True)
    (spool_directory / "9.jsonl").write_bytes(to_line(make_entry()))
    writer.stop()
    assert counted(database) == (1, 1)
