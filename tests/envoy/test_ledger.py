"""The ledger behind the real Envoy: every answered request is in it once, whatever is killed and whenever."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import func, select

from extproc.ledger.database import Database
from extproc.ledger.schema import ATTEMPTS, DAYS, EXCHANGES, HOURS
from extproc.ledger.unfollowed import PATIENCE_MS
from tests.envoy.kortex_process import KortexProcess
from tests.fakes import FakeProvider, Status
from tests.fakes.faults import Chunking, Fault, Silence, SlowEvents, StallAfter
from tests.fakes.postgres_server import PASSWORD, PostgresServer
from tests.fakes.raw_client import RawClient

ENVIRONMENT = {"LEDGER_PASSWORD": PASSWORD}
SUMMED = ("requests", "attempts", "input_tokens")
CHAT = {"messages": [{"role": "user", "content": "words that nobody keeps"}]}


def config(a: FakeProvider, b: FakeProvider, ledger: dict[str, Any]) -> dict[str, Any]:
    """A route with a fallback."""
    return {
        "ledger": ledger,
        "backends": {
            "a": {
                "provider": "custom",
                "url": a.url,
                "model": "inner",
                "cost": {"inputTokenCost": "0.00025", "outputTokenCost": "0.0000001", "currency": "EUR"},
            },
            "b": {"provider": "custom", "url": b.url, "model": "inner"},
        },
        "routes": {
            "pair": {
                "models": ["pair"],
                "defaultBackend": {"name": "a"},
                "fallback": {"backends": ["b"]},
                "retries": {"perBackend": 0},
            }
        },
    }


@pytest.fixture(scope="module")
def providers() -> Iterator[tuple[FakeProvider, FakeProvider]]:
    """Both healthy at first."""
    with FakeProvider(name="a") as a, FakeProvider(name="b") as b:
        yield a, b


@pytest.fixture
def pair(providers: tuple[FakeProvider, FakeProvider]) -> tuple[FakeProvider, FakeProvider]:
    """Both healthy."""
    for fake in providers:
        fake.clear_faults()
        fake.clear()
    return providers


def ask(kortex: KortexProcess, name: str, **fields: Any) -> httpx.Response:
    """A request whose id is ``name``, and its whole reply."""
    headers = {"x-request-id": name}
    url, body = f"{kortex.base_url}/chat/completions", {"model": "pair"} | CHAT | fields
    return httpx.post(url, json=body, headers=headers, timeout=30, trust_env=False)


def talk(words: int) -> dict[str, Any]:
    """An answer of so many words."""
    return {"messages": [{"role": "user", "content": f"[words={words}]"}]}


def rows(file: Path, table: str) -> list[dict[str, Any]]:
    """Of SQLite's file, as another program sees them."""
    connection = sqlite3.connect(file)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY ended_ms, exchange")]  # noqa: S608
    finally:
        connection.close()


def usage(kortex: KortexProcess, **parameters: str) -> list[dict[str, Any]]:
    """What the admin listener tells."""
    found: list[dict[str, Any]] = httpx.get(f"{kortex.admin_url}/usage", params=parameters, trust_env=False).json()[
        "usage"
    ]
    return found


def test_each_request_and_each_attempt_is_written_down(pair: tuple[FakeProvider, FakeProvider], tmp_path: Path) -> None:
    """Answered at once, streamed, after a failover, and refused: with what the reply said, and without content."""
    a, b = pair
    file = tmp_path / "usage.db"
    with KortexProcess(config(a, b, {"url": f"sqlite:///{file}"}), workers=2) as kortex:
        plain = ask(kortex, "plain")
        ask(kortex, "streamed", stream=True, stream_options={"include_usage": True})
        a.script = [Status(503)]
        moved = ask(kortex, "moved")
        assert moved.headers["x-kortex-backend"] == "b"
        assert ask(kortex, "refused", model="nothing").status_code == 404
        kortex.until(
            lambda: all(sum(row[name] for row in usage(kortex)) == 4 for name in ("requests", "attempts")),
            "everything is booked",
        )
        by_backend = {row["backend"]: row for row in usage(kortex, by="backend")}
        metrics = kortex.metrics()
    exchanges = {row["request_id"]: row for row in rows(file, "exchanges")}
    assert {name: (row["status"], row["attempts"], row["outcome"]) for name, row in exchanges.items()} == {
        "plain": (200, 1, "answered"),
        "streamed": (200, 1, "answered"),
        "moved": (200, 2, "answered"),
        "refused": (404, 0, "model_not_found"),
    }
    attempts = [(row["request_id"], row["attempt"], row["backend"], row["outcome"]) for row in rows(file, "attempts")]
    assert attempts == [
        ("plain", 1, "a", "answered"),
        ("streamed", 1, "a", "answered"),
        ("moved", 1, "a", "overloaded"),
        ("moved", 2, "b", "answered"),
    ]
    told = plain.json()["usage"]
    assert exchanges["plain"]["input_tokens"] == told["prompt_tokens"]
    assert exchanges["plain"]["output_tokens"] == told["completion_tokens"]
    assert exchanges["plain"]["requested_model"] == "pair"
    assert plain.headers["x-kortex-cost"] == f"{exchanges['plain']['cost']} EUR"
    assert Decimal(by_backend["a"]["cost"]) == 2 * Decimal(exchanges["plain"]["cost"])
    assert (by_backend["a"]["currency"], by_backend["b"]["unpriced_attempts"]) == ("EUR", 1)
    assert {row["usage_source"] for row in exchanges.values()} == {"reported", None}
    assert (by_backend["a"]["attempts"], by_backend["a"]["failed_attempts"], by_backend["b"]["requests"]) == (3, 1, 1)
    assert metrics['kortex_ledger_records_total{kind="exchange"}'] == 4
    assert metrics["kortex_ledger_dropped_records_total"] == 0
    assert b"words that nobody keeps" not in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0


class Load:
    """Clients that ask without pause, streamed and not, and remember which replies they got to the end."""

    def __init__(self, kortex: KortexProcess, clients: int = 4) -> None:
        self._url = f"{kortex.base_url}/chat/completions"
        self._stopped = threading.Event()
        self.answered: list[str] = []
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, client: int) -> None:
        number = 0
        while not self._stopped.is_set():
            number += 1
            name, stream = f"{client}-{number}", bool(number % 2)
            try:
                reply = httpx.post(
                    self._url,
                    json={"model": "pair", "stream": stream} | CHAT,
                    headers={"x-request-id": name},
                    timeout=30,
                    trust_env=False,
                )
            except httpx.TransportError:
                time.sleep(0.02)
                continue
            if reply.status_code == 200 and (not stream or reply.text.rstrip().endswith("data: [DONE]")):
                self.answered.append(name)


def check_books(url: str, answered: list[str]) -> None:
    """No answer is missing, none is there twice, and the sums are those of the rows."""
    database = Database(url, PASSWORD)
    with database.reading() as connection:
        exchanges = Counter(row["request_id"] for row in connection.execute(EXCHANGES.select()).mappings())
        written = connection.execute(ATTEMPTS.select()).mappings().all()
        sums = {
            tuple(int(connection.execute(select(func.sum(table.c[name]))).scalar_one()) for name in SUMMED)
            for table in (HOURS, DAYS)
        }
    database.close()
    assert [name for name in answered if exchanges[name] != 1] == []
    assert max(exchanges.values()) == 1
    attempts = Counter((row["request_id"], row["attempt"]) for row in written)
    assert max(attempts.values()) == 1
    # None where an attempt was cut before its provider had said anything.
    tokens = sum(row["input_tokens"] or 0 for row in written)
    assert sums == {(sum(exchanges.values()), sum(attempts.values()), tokens)}


def counted(kortex: KortexProcess, name: str) -> float:
    """A counter's sum, whatever its labels are."""
    return sum(value for series, value in kortex.metrics().items() if series.startswith(f"{name}{{"))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One for all that do not kill it."""
    with PostgresServer() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """An empty one, as configs have it."""
    if request.param == "sqlite":
        return {"url": f"sqlite:///{tmp_path}/usage.db"}
    url = request.getfixturevalue("server").new_database()
    return {"url": url, "password": {"env": "LEDGER_PASSWORD"}, "spool": str(tmp_path / "spool")}


def test_a_client_that_leaves_although_another_could_be_asked_has_made_a_request(
    pair: tuple[FakeProvider, FakeProvider], tmp_path: Path
) -> None:
    """Nobody says that there is no other attempt; nor is one taken for missing that comes, however long it takes."""
    a, b = pair
    file = tmp_path / "usage.db"
    with KortexProcess(config(a, b, {"url": f"sqlite:///{file}"}), workers=2) as kortex:
        a.script, b.script = [Status(503), Chunking((200,), pause=0.05)], [SlowEvents(0.3)]
        stream = threading.Thread(target=ask, args=(kortex, "slow"), kwargs={"stream": True} | talk(45))
        stream.start()
        b.wait_for(lambda fake: fake.active == 1)
        with RawClient(urlsplit(kortex.origin).port or 0) as client:
            client.post("/v1/chat/completions", {"model": "pair"} | talk(300), "x-request-id: left")
            a.wait_for(lambda fake: any(request.bytes_sent >= 1_000 for request in fake.requests))
        kortex.until(lambda: "left" in {row["request_id"] for row in rows(file, "exchanges")}, "it has ended")
        assert len(b.requests) == 1
        stream.join()
        kortex.until(lambda: sum(row["requests"] for row in usage(kortex)) == 2, "both are counted")
        assert counted(kortex, "kortex_begun_requests_total") == 2
        # Nobody has had a last word of the other one.
        assert counted(kortex, "kortex_requests_total") == 1
    found = {row["request_id"]: row for row in rows(file, "exchanges")}
    left, slow = found["left"], found["slow"]
    assert slow["duration_ms"] > PATIENCE_MS * 1.2
    assert (slow["attempts"], slow["outcome"], slow["backend"]) == (2, "answered", "b")
    assert (left["attempts"], left["status"], left["usage_source"], left["backend"]) == (1, None, "estimated", "a")
    assert left["outcome"] != "answered"
    assert left["output_tokens"] > 20
    assert Decimal(left["cost"]) > 0


def serving(kortex: KortexProcess, spool: Path, name: str) -> int:
    """The process that serves a request's second attempt: the one whose segment says that it has begun."""

    def look() -> int | None:
        wanted = f'"request_id":"{name}"'
        for segment in spool.glob("*.jsonl"):
            lines = segment.read_text().splitlines()
            if any('"kind":"begun"' in line and wanted in line for line in lines):
                return next((pid for pid in kortex.worker_pids if segment in _open_files(pid)), None)
        return None

    return kortex.until(look, "the second attempt has begun")


def _open_files(pid: int) -> set[Path]:
    files = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            files.add(descriptor.readlink())
    return files


def told(file: Path, table: str, *columns: str) -> list[tuple[Any, ...]]:
    """Some columns, in the attempts' order."""
    found = [tuple(row[name] for name in ("request_id", *columns)) for row in rows(file, table)]
    return sorted(found)


@pytest.mark.parametrize("fault", [Silence(), StallAfter(2)], ids=["before-its-reply", "in-its-stream"])
@pytest.mark.parametrize("victim", ["worker", "gateway"])
def test_what_is_killed_in_a_second_attempt_leaves_a_request_and_both_attempts(
    pair: tuple[FakeProvider, FakeProvider], tmp_path: Path, fault: Fault, victim: str
) -> None:
    """Nobody is left to say how it ended; each is there once, whoever goes on, at once or after a restart."""
    a, b = pair
    file = tmp_path / "usage.db"
    settings = config(a, b, {"url": f"sqlite:///{file}"})
    a.script, b.script = [Status(503)], [fault]
    with KortexProcess(settings, workers=2) as kortex, RawClient(urlsplit(kortex.origin).port or 0) as client:
        body = {"model": "pair", "stream": True} | talk(20)
        client.post("/v1/chat/completions", body, "x-request-id: cut")
        b.wait_for(lambda fake: fake.active == 1)
        worker = serving(kortex, tmp_path / "usage.db.spool", "cut")
        kortex.until(lambda: told(file, "attempts", "attempt") == [("cut", 1)], "the first attempt is booked")
        if victim == "worker":
            os.kill(worker, signal.SIGKILL)
            kortex.until(lambda: told(file, "exchanges"), "the exchange is there")
        else:
            os.kill(kortex.pid, signal.SIGSTOP)  # a worker that outlives it by a moment would say what it knows
            for pid in (*kortex.worker_pids, kortex.envoy_pid, kortex.pid):
                os.kill(pid, signal.SIGKILL)
            kortex.wait()
    with KortexProcess(settings, workers=2) as kortex:
        kortex.until(lambda: ("cut",) in told(file, "exchanges"), "the exchange is there")
        assert ask(kortex, "next").status_code == 200
        kortex.until(lambda: sum(row["requests"] for row in usage(kortex)) == 2, "both are counted")
        assert sum(row["attempts"] for row in usage(kortex, by="user")) == 3
    assert told(file, "attempts", "attempt", "backend", "outcome") == [
        ("cut", 1, "a", "overloaded"),
        ("cut", 2, "b", "gateway"),
        ("next", 1, "a", "answered"),
    ]
    assert told(file, "exchanges", "attempts", "backend", "outcome", "status") == [
        ("cut", 2, "b", "gateway", None),
        ("next", 1, "a", "answered", 200),
    ]
    assert list((tmp_path / "usage.db.spool").glob("*.jsonl")) == []


def test_killed_workers_lose_no_answer(pair: tuple[FakeProvider, FakeProvider], ledger: dict[str, Any]) -> None:
    """SIGKILL again and again in the middle of the load."""
    with KortexProcess(config(*pair, ledger), env=ENVIRONMENT, workers=2) as kortex:
        load = Load(kortex)
        for _ in range(6):
            so_far = len(load.answered)
            kortex.until(lambda: len(load.answered) > so_far + 20, "more is answered")  # noqa: B023 - called at once
            pids = kortex.until(lambda: kortex.worker_pids, "a worker lives")
            os.kill(pids[0], signal.SIGKILL)
        load.stop()
        count = len(load.answered)
        assert kortex.metrics()["kortex_worker_restarts_total"] >= 3
    assert count > 120
    check_books(ledger["url"], load.answered)


@pytest.mark.parametrize("victim", ["the-command", "envoy"])
def test_a_killed_gateway_loses_no_answer(
    pair: tuple[FakeProvider, FakeProvider], ledger: dict[str, Any], victim: str
) -> None:
    """Whoever dies first, what was answered waits for the next start."""
    settings = config(*pair, ledger)
    with KortexProcess(settings, env=ENVIRONMENT, workers=2) as kortex:
        load = Load(kortex)
        kortex.until(lambda: len(load.answered) > 50, "something is answered")
        os.kill(kortex.pid if victim == "the-command" else kortex.envoy_pid, signal.SIGKILL)
        kortex.wait()
        load.stop()
    with KortexProcess(settings, env=ENVIRONMENT) as kortex:
        kortex.until(
            lambda: sum(row["requests"] for row in usage(kortex)) >= len(load.answered), "what waited is booked"
        )
        kortex.until(lambda: kortex.metrics()["kortex_ledger_spooled_bytes"] == 0, "nothing waits")
    check_books(ledger["url"], load.answered)


def test_a_database_that_is_away_keeps_nobody_waiting(pair: tuple[FakeProvider, FakeProvider], tmp_path: Path) -> None:
    """PostgreSQL is killed under load and comes back: every request was answered, and all of them are booked."""
    with PostgresServer() as server:
        url = server.new_database()
        ledger = {"url": url, "password": {"env": "LEDGER_PASSWORD"}, "spool": str(tmp_path / "spool")}
        with KortexProcess(config(*pair, ledger), env={"LEDGER_PASSWORD": PASSWORD}, workers=2) as kortex:
            assert ask(kortex, "before").status_code == 200
            kortex.until(lambda: usage(kortex), "the first is booked")
            server.kill()
            load = Load(kortex)
            kortex.until(lambda: kortex.metrics()["kortex_ledger_up"] == 0, "the outage is noticed")
            kortex.until(lambda: len(load.answered) > 50, "requests are answered")
            load.stop()
            ready = httpx.get(f"{kortex.admin_url}/readyz", trust_env=False)
            assert (ready.status_code, list(ready.json()["degraded"])) == (200, ["ledger"])
            assert httpx.get(f"{kortex.admin_url}/usage", trust_env=False).status_code == 503
            assert kortex.metrics()["kortex_ledger_spooled_bytes"] > 0
            server.start()
            kortex.until(lambda: kortex.metrics()["kortex_ledger_spooled_bytes"] == 0, "nothing waits")
            assert "records wait in the spool" in kortex.stderr
            assert "is written again" in kortex.stderr
            assert PASSWORD not in kortex.stderr + str(kortex.described())
        database = Database(url, PASSWORD)
        with database.reading() as connection:
            exchanges = Counter(row["request_id"] for row in connection.execute(EXCHANGES.select()).mappings())
            attempts = connection.execute(ATTEMPTS.select()).mappings().all()
        database.close()
    assert exchanges == Counter(["before", *load.answered])
    assert len(attempts) == len(load.answered) + 1


def test_a_ledger_whose_password_is_missing_is_refused_at_the_start(tmp_path: Path) -> None:
    """Rather than when the first record waits."""
    ledger = {"url": "postgresql://u@127.0.0.1:9/x", "password": {"env": "LEDGER_PASSWORD"}}
    settings = {"ledger": ledger | {"spool": str(tmp_path)}}
    with KortexProcess(settings, expect_failure=True) as kortex:
        assert kortex.returncode == 1
        assert "ledger.password: the environment variable LEDGER_PASSWORD is not set" in kortex.stderr
