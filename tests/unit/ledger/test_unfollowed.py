"""An exchange whose last attempt moved on ends all the same, and those that were followed do not end twice."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from extproc.ledger.columns import TOKENS
from extproc.ledger.database import Database
from extproc.ledger.entry import BEGUN
from extproc.ledger.question import read_question
from extproc.ledger.report import report
from extproc.ledger.schema import ATTEMPTS, EXCHANGES
from extproc.ledger.spool import Spool
from extproc.ledger.unfollowed import LONGEST_MS, PATIENCE_MS
from extproc.ledger.writer import Kept, Writer
from tests.unit.ledger.conftest import NOW, MakeEntry

PATIENCE = PATIENCE_MS / 1_000


class Clock:
    """Turned by the test."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The writer's."""
    return Clock()


@pytest.fixture
def writer(spool_directory: Path, database: Database, clock: Clock) -> Writer:
    """One that is told to catch up."""
    return restarted(spool_directory, database, clock)


def restarted(spool_directory: Path, database: Database, clock: Clock) -> Writer:
    """One that remembers nothing."""
    return Writer(spool_directory, database, Kept(records=90, summaries=730), now=clock)


def put(directory: Path, *entries: Mapping[str, Any]) -> None:
    """As a worker that has ended."""
    spool = Spool(directory, limit=1 << 30)
    assert all(spool.write(entry) for entry in entries)
    spool.close()


def begun(entry: Mapping[str, Any], attempt: int, backend: str = "second") -> dict[str, Any]:
    """Another attempt of the same exchange, as it is spooled when it begins."""
    unknown = (*TOKENS, "status", "usage_source", "tries", "cost", "currency", "first_token_ms", "duration_ms")
    told = {"kind": BEGUN, "attempt": attempt, "backend": backend, "outcome": "gateway", "final": False}
    return {**entry, **dict.fromkeys((*unknown, "request_ms")), **told}


def attempts(database: Database) -> list[tuple[int, str, str]]:
    """Each with how it ended and where, in order."""
    statement = select(ATTEMPTS.c.attempt, ATTEMPTS.c.outcome, ATTEMPTS.c.backend).order_by(*ATTEMPTS.primary_key)
    with database.reading() as connection:
        return [(row.attempt, row.outcome, row.backend) for row in connection.execute(statement)]


@pytest.fixture
def worker(spool_directory: Path) -> Iterator[Spool]:
    """One that lives until the test closes it, which leaves what a kill does."""
    spool = Spool(spool_directory, limit=1 << 30)
    yield spool
    spool.close()


def exchanges(database: Database) -> list[tuple[int, str, str]]:
    """How many attempts each had, and how it ended and where."""
    statement = select(EXCHANGES.c.attempts, EXCHANGES.c.outcome, EXCHANGES.c.backend).order_by(EXCHANGES.c.exchange)
    with database.reading() as connection:
        return [(row.attempts, row.outcome, row.backend) for row in connection.execute(statement)]


def requests(database: Database) -> tuple[int, int, str | None]:
    """What a report counts: requests, attempts and money."""
    (row,) = report(database, read_question("month", None, None, now=NOW))
    return row["requests"], row["attempts"], row["cost"]


def test_an_attempt_that_nobody_followed_has_ended_its_exchange(
    writer: Writer, database: Database, spool_directory: Path, clock: Clock, make_entry: MakeEntry
) -> None:
    """After a while, once, with its own tokens and money; its segment goes when that is done."""
    put(spool_directory, make_entry(outcome="reset", final=False, status=None, attempt=2, cost="0.1"))
    assert writer.catch_up()
    assert exchanges(database) == []
    assert requests(database) == (0, 1, "0.1")
    clock.now += PATIENCE + 1
    assert writer.catch_up()
    assert writer.catch_up()
    assert exchanges(database) == [(2, "reset", "openai")]
    assert requests(database) == (1, 1, "0.1")
    assert list(spool_directory.glob("*.jsonl")) == []


def test_a_restart_forgets_no_open_exchange(
    writer: Writer, database: Database, spool_directory: Path, clock: Clock, make_entry: MakeEntry
) -> None:
    """The spool still has it, and what is booked twice counts once."""
    put(spool_directory, make_entry(outcome="reset", final=False), make_entry())
    assert writer.catch_up()
    clock.now += PATIENCE + 1
    assert restarted(spool_directory, database, clock).catch_up()
    assert requests(database) == (2, 2, "0.0009")


@pytest.mark.parametrize("begins_first", [True, False])
def test_an_attempt_that_takes_its_time_is_waited_for(
    writer: Writer,
    database: Database,
    spool_directory: Path,
    clock: Clock,
    worker: Spool,
    make_entry: MakeEntry,
    *,
    begins_first: bool,
) -> None:
    """However long its worker lives; whichever worker's segment is read first; also by a writer that starts anew."""
    failed = make_entry(outcome="timeout", final=False, backend="first")
    if begins_first:
        worker.write(begun(failed, 2))
        put(spool_directory, failed)
    else:
        put(spool_directory, failed)
        worker.write(begun(failed, 2))
    for _ in range(4):
        assert writer.catch_up()
        clock.now += PATIENCE
    writer = restarted(spool_directory, database, clock)
    for _ in range(4):
        assert writer.catch_up()
        clock.now += PATIENCE
    assert exchanges(database) == []
    worker.write(make_entry(exchange=failed["exchange"], attempt=2, ended_ms=int(clock.now * 1_000)))
    worker.close()
    assert writer.catch_up()
    assert exchanges(database) == [(2, "answered", "openai")]
    assert requests(database) == (1, 2, "0.0009")
    assert list(spool_directory.iterdir()) == []


@pytest.mark.parametrize("anew", [False, True], ids=["the-same-writer", "a-writer-that-starts-anew"])
def test_an_attempt_whose_worker_is_killed_is_booked_and_ends_its_exchange(
    writer: Writer,
    database: Database,
    spool_directory: Path,
    clock: Clock,
    worker: Spool,
    make_entry: MakeEntry,
    *,
    anew: bool,
) -> None:
    """Once; what it used and how long it took is unknown, and who asked whom is not."""
    failed = make_entry(outcome="overloaded", final=False, backend="first", cost=None, currency=None)
    put(spool_directory, failed)
    worker.write(begun(failed, 2))
    clock.now += 3 * PATIENCE
    assert writer.catch_up()
    assert attempts(database) == [(1, "overloaded", "first")]
    worker.close()
    if anew:
        writer = restarted(spool_directory, database, clock)
    assert writer.catch_up()
    assert exchanges(database) == []
    clock.now += PATIENCE + 1
    for _ in range(2):
        assert writer.catch_up()
        assert attempts(database) == [(1, "overloaded", "first"), (2, "gateway", "second")]
        assert exchanges(database) == [(2, "gateway", "second")]
    with database.reading() as connection:
        row = connection.execute(select(EXCHANGES)).mappings().one()
    assert (row["key"], row["route"], row["request_id"]) == ("ci", "production", "r-1")
    assert (row["status"], row["cost"], row["output_tokens"], row["duration_ms"]) == (None, None, None, None)
    assert requests(database) == (1, 2, None)
    assert list(spool_directory.iterdir()) == []


@pytest.mark.parametrize("answered_at", [1, PATIENCE - 1, 3 * PATIENCE])
def test_another_worker_may_take_over_from_one_that_was_killed(
    writer: Writer,
    database: Database,
    spool_directory: Path,
    clock: Clock,
    worker: Spool,
    make_entry: MakeEntry,
    answered_at: float,
) -> None:
    """The exchange ends as that one says, whenever it does, and the attempt that was lost is booked as well."""
    failed = make_entry(outcome="overloaded", final=False, backend="first")
    put(spool_directory, failed, begun(failed, 2))
    worker.write(begun(failed, 3, "third"))
    assert writer.catch_up()
    clock.now += answered_at
    assert writer.catch_up()
    assert exchanges(database) == []
    worker.write(make_entry(exchange=failed["exchange"], attempt=3, backend="third"))
    worker.close()
    for _ in range(4):
        assert writer.catch_up()
        assert exchanges(database) == [(3, "answered", "third")]
        clock.now += PATIENCE
    assert attempts(database) == [(1, "overloaded", "first"), (2, "gateway", "second"), (3, "answered", "third")]
    assert requests(database)[:2] == (1, 3)
    assert list(spool_directory.iterdir()) == []


def test_an_attempt_that_two_workers_began_is_one(
    writer: Writer, database: Database, spool_directory: Path, clock: Clock, worker: Spool, make_entry: MakeEntry
) -> None:
    """Envoy asks another worker for the same attempt, when the first had not answered before it was killed."""
    failed = make_entry(outcome="overloaded", final=False, backend="first")
    put(spool_directory, failed, begun(failed, 2))
    worker.write(begun(failed, 2))
    for _ in range(3):
        assert writer.catch_up()
        clock.now += PATIENCE
    assert attempts(database) == [(1, "overloaded", "first")]
    worker.write(make_entry(exchange=failed["exchange"], attempt=2))
    assert writer.catch_up()
    assert exchanges(database) == [(2, "answered", "openai")]


def test_a_last_word_that_was_lost_though_its_worker_lives_is_not_waited_for_for_ever(
    writer: Writer, database: Database, spool_directory: Path, clock: Clock, worker: Spool, make_entry: MakeEntry
) -> None:
    """The disk was full just then."""
    failed = make_entry(outcome="overloaded", final=False, backend="first")
    put(spool_directory, failed)
    worker.write(begun(failed, 2))
    assert writer.catch_up()
    clock.now += LONGEST_MS / 1_000 + 1
    assert writer.catch_up()
    assert exchanges(database) == [(1, "overloaded", "first")]
    assert attempts(database) == [(1, "overloaded", "first")]


def test_a_segment_keeps_only_what_is_open(
    writer: Writer, database: Database, spool_directory: Path, clock: Clock, worker: Spool, make_entry: MakeEntry
) -> None:
    """A long answer must not fill the spool with what was booked beside the attempt that failed before it."""
    failed = make_entry(outcome="overloaded", final=False, backend="first")
    put(spool_directory, *(make_entry() for _ in range(500)), failed, *(make_entry() for _ in range(500)))
    (segment,) = spool_directory.glob("*.jsonl")
    worker.write(begun(failed, 2))
    before = segment.stat().st_size
    assert writer.catch_up()
    assert segment.stat().st_size < before / 500
    assert writer.status.waiting_bytes == 0
    clock.now += 3 * PATIENCE
    again = restarted(spool_directory, database, clock)
    assert again.catch_up()
    assert requests(database)[:2] == (1_000, 1_001)
    worker.write(make_entry(exchange=failed["exchange"], attempt=2))
    assert again.catch_up()
    assert not segment.exists()
    assert requests(database)[:2] == (1_001, 1_002)


def test_an_answer_that_is_read_first_is_the_end(
    writer: Writer, database: Database, spool_directory: Path, clock: Clock, make_entry: MakeEntry
) -> None:
    """What failed before it does not end it again."""
    failed = make_entry(outcome="timeout", final=False, backend="first")
    put(spool_directory, make_entry(exchange=failed["exchange"], attempt=2))
    put(spool_directory, failed, begun(failed, 2))
    assert writer.catch_up()
    clock.now += PATIENCE + 1
    assert writer.catch_up()
    assert exchanges(database) == [(2, "answered", "openai")]
    assert requests(database) == (1, 2, "0.0009")


def test_the_last_of_those_that_moved_on_has_ended_it(
    writer: Writer, database: Database, spool_directory: Path, clock: Clock, make_entry: MakeEntry
) -> None:
    """The client waited for two backends and left before the third was asked."""
    first = make_entry(outcome="timeout", final=False, backend="first")
    second = make_entry(exchange=first["exchange"], outcome="reset", final=False, backend="second", attempt=2)
    put(spool_directory, begun(first, 2), second)
    put(spool_directory, first)
    assert writer.catch_up()
    clock.now += PATIENCE + 1
    assert writer.catch_up()
    assert exchanges(database) == [(2, "reset", "second")]


def test_an_open_exchange_waits_for_the_database(
    writer: Writer,
    database: Database,
    spool_directory: Path,
    clock: Clock,
    make_entry: MakeEntry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not forgotten when it cannot be written."""
    put(spool_directory, make_entry(outcome="reset", final=False))
    assert writer.catch_up()
    clock.now += PATIENCE + 1
    with monkeypatch.context() as patch:
        patch.setattr(database, "writing", _away)
        assert not writer.catch_up()
    assert writer.catch_up()
    assert exchanges(database) == [(1, "reset", "openai")]


def _away() -> None:
    raise OSError("the disk is gone")


def test_a_record_that_no_database_takes_stops_nobody(
    writer: Writer, database: Database, spool_directory: Path, clock: Clock, make_entry: MakeEntry
) -> None:
    """Not as an open exchange either."""
    broken = make_entry(outcome="reset", final=False)
    del broken["attempt"]
    put(spool_directory, broken, make_entry())
    assert writer.catch_up()
    clock.now += PATIENCE + 1
    assert writer.catch_up()
    assert writer.catch_up()
    assert requests(database) == (1, 1, "0.00045")
    assert list(spool_directory.glob("*.jsonl")) == []


class Gateway:
    """Three workers with attempts under way, which chance ends, moves on or kills; and what ought to be booked."""

    def __init__(self, directory: Path, make_entry: MakeEntry, chance: random.Random) -> None:
        self._directory = directory
        self._make_entry = make_entry
        self._chance = chance
        self._workers = [self._worker() for _ in range(3)]
        self._under_way: list[tuple[dict[str, Any], int]] = []
        self.attempts: set[tuple[str, int]] = set()
        self.last: dict[str, int] = {}

    def step(self) -> None:
        """Something happens."""
        what = self._chance.randrange(5)
        if what < 2:
            self._begin(self._make_entry())
        elif what < 4 and self._under_way:
            self._finish(*self._under_way.pop(self._chance.randrange(len(self._under_way))))
        else:
            self._kill(self._chance.randrange(3))

    def stop(self) -> None:
        """Killed, all of it."""
        for number in range(3):
            self._workers[number].close()
        for entry, _ in self._under_way:
            self._lose(entry)

    def _worker(self) -> Spool:
        return Spool(self._directory, limit=1 << 30)

    def _begin(self, entry: dict[str, Any]) -> None:
        number = self._chance.randrange(3)
        if entry["attempt"] > 1:
            self._workers[number].write(begun(entry, entry["attempt"]))
        self._under_way.append((entry, number))

    def _finish(self, entry: dict[str, Any], number: int) -> None:
        final = self._chance.random() < 0.5
        outcome = "answered" if final else "overloaded"
        self._workers[number].write(entry | {"final": final, "outcome": outcome})
        self._know(entry)
        if not final:
            self._go_on(entry)

    def _kill(self, number: int) -> None:
        self._workers[number].close()
        self._workers[number] = self._worker()
        cut = [entry for entry, worker in self._under_way if worker == number]
        self._under_way = [(entry, worker) for entry, worker in self._under_way if worker != number]
        for entry in cut:
            self._lose(entry)
            self._go_on(entry)

    def _lose(self, entry: dict[str, Any]) -> None:
        if entry["attempt"] > 1:
            self._know(entry)

    def _know(self, entry: dict[str, Any]) -> None:
        self.attempts.add((entry["exchange"], entry["attempt"]))
        self.last[entry["exchange"]] = entry["attempt"]

    def _go_on(self, entry: dict[str, Any]) -> None:
        """Envoy does at once, if it does."""
        if self._chance.random() < 0.6:
            self._begin(entry | {"attempt": entry["attempt"] + 1})


@pytest.mark.parametrize("seed", range(6))
def test_each_request_with_a_booked_attempt_ends_once_whatever_is_killed_and_when(
    spool_directory: Path, database: Database, clock: Clock, make_entry: MakeEntry, seed: int
) -> None:
    """With its last attempt; and each attempt that its worker told of is there once."""
    chance = random.Random(seed)
    gateway = Gateway(spool_directory, lambda: make_entry(ended_ms=int(clock.now * 1_000)), chance)
    writer = restarted(spool_directory, database, clock)
    for _ in range(150):
        gateway.step()
        if chance.random() < 0.3:
            assert writer.catch_up()
        if chance.random() < 0.1:
            writer = restarted(spool_directory, database, clock)
        clock.now += chance.choice([0, 0, 1, PATIENCE])
    gateway.stop()
    for _ in range(4):
        assert writer.catch_up()
        clock.now += PATIENCE + 1
    with database.reading() as connection:
        booked = [(row.exchange, row.attempt) for row in connection.execute(select(ATTEMPTS))]
        ended = [(row.exchange, row.attempts) for row in connection.execute(select(EXCHANGES))]
    assert sorted(booked) == sorted(gateway.attempts)
    assert sorted(ended) == sorted(gateway.last.items())
    assert list(spool_directory.glob("*.jsonl")) == []
