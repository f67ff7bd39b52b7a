"""Ledgers in both databases, and records to write into them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extproc.ledger.database import Database
from extproc.ledger.writer import Kept, Writer
from tests.fakes.postgres_server import PASSWORD, PostgresServer

NOW = 1_790_000_000.0
"""2026-09-21T14:13:20Z."""

MakeEntry = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests; each takes a database of its own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Empty."""
    if request.param == "sqlite":
        made = Database(f"sqlite:///{tmp_path}/usage.db")
    else:
        made = Database(request.getfixturevalue("postgres").new_database(), PASSWORD)
    yield made
    made.close()


@pytest.fixture
def spool_directory(tmp_path: Path) -> Path:
    """Not made yet."""
    return tmp_path / "spool"


@pytest.fixture
def writer(spool_directory: Path, database: Database) -> Writer:
    """One that is told to catch up, with its clock standing still."""
    return Writer(spool_directory, database, Kept(records=90, summaries=730), now=lambda: NOW)


@pytest.fixture
def make_entry() -> MakeEntry:
    """An answered attempt of an exchange of its own, changed as the test likes."""
    numbers = itertools.count(1)

    def make(**changes: Any) -> dict[str, Any]:
        entry = {
            "kind": "attempt",
            "exchange": f"{next(numbers):032x}",
            "attempt": 1,
            "final": True,
            "ended_ms": int(NOW * 1_000),
            "request_id": "r-1",
            "decision": None,
            "decision_reason": "the only backend",
            "key": "ci",
            "tenant": "acme",
            "user": None,
            "route": "production",
            "rule": None,
            "experiments": None,
            "operation": "chat",
            "stream": True,
            "requested_model": "gpt-4",
            "model": "gpt-4o",
            "served_model": "gpt-4o-2024-08-06",
            "backend": "openai",
            "provider": "openai",
            "status": 200,
            "outcome": "answered",
            "tries": 1,
            "input_tokens": 100,
            "cached_input_tokens": 40,
            "cache_write_tokens": None,
            "cache_write_1h_tokens": None,
            "output_tokens": 20,
            "reasoning_tokens": None,
            "audio_input_tokens": None,
            "audio_output_tokens": None,
            "usage_source": "reported",
            "cost": "0.00045",
            "currency": "USD",
            "first_token_ms": 12.5,
            "duration_ms": 300.0,
            "request_ms": 310.0,
        }
        return entry | changes

    return make
