"""Tokens are there before they are needed, renewed before they end, and never kept for nobody."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from extproc.credentials.secrets import Secret
from extproc.credentials.store import TokenStore, seconds_to_renewal
from extproc.credentials.tokens import Token, TokenUnavailable
from extproc.errors import CredentialUnavailable
from extproc.providers.token_request import GoogleToken, TokenRequest

ONE = GoogleToken(credentials_file="/one.json")
OTHER = GoogleToken(credentials_file="/other.json")


class Issuer:
    """Gives ``token-1``, ``token-2`` … of a life in seconds, on a clock that only a test moves."""

    def __init__(self, *, life: float = 3_600.0) -> None:
        self.now = 1_000.0
        self.life = life
        self.refusing = False
        self.asked: list[TokenRequest] = []

    def get(self, request: TokenRequest) -> Token:
        self.asked.append(request)
        if self.refusing:
            raise TokenUnavailable("the issuer says no")
        return Token(secret=Secret(f"token-{len(self.asked)}"), expires_at=self.now + self.life)

    def clock(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Issuer:
    """A willing one."""
    return Issuer()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be seconds of waiting is none."""
    monkeypatch.setattr("extproc.credentials.store._SHORTEST_WAIT", 0.0)


async def until(look: Callable[[], bool]) -> None:
    """Raises TimeoutError."""
    async with asyncio.timeout(10):
        while not look():  # noqa: ASYNC110 - what is waited for happens in a thread
            await asyncio.sleep(0.005)


async def test_token_is_there_when_it_has_been_taken_up(issuer: Issuer) -> None:
    """The first request finds it, and asks nobody."""
    store = TokenStore(issuer.get, now=issuer.clock)
    read = store.credential(ONE)
    with pytest.raises(CredentialUnavailable):
        read()
    await store.take_up([ONE], within=10)
    assert (read(), read(), issuer.asked) == ("token-1", "token-1", [ONE])
    store.close()


async def test_token_is_shared_by_equal_requests_and_by_later_configs(issuer: Issuer) -> None:
    """A reload asks for nothing that is there."""
    store = TokenStore(issuer.get, now=issuer.clock)
    await store.take_up([ONE], within=10)
    again = GoogleToken(credentials_file="/one.json")
    await store.take_up([again, OTHER], within=10)
    assert store.credential(again)() == "token-1"
    assert issuer.asked == [ONE, OTHER]
    store.close()


@pytest.mark.parametrize(
    ("life", "expected"),
    [
        pytest.param(3_600, 3_375, id="an-hour"),
        pytest.param(100, 80, id="short"),
        pytest.param(0.5, 1, id="hardly-any"),
    ],
)
def test_renewal_comes_before_the_end(life: float, expected: float) -> None:
    """Early enough for several tries, and never in a tight loop."""
    assert seconds_to_renewal(Token(secret=Secret("x"), expires_at=1_000 + life), 1_000) == expected


@pytest.mark.usefixtures("quick")
async def test_token_is_renewed_off_the_request_path(issuer: Issuer) -> None:
    """By itself: nobody reads it."""
    issuer.life = 0.05
    store = TokenStore(issuer.get, now=issuer.clock)
    read = store.credential(ONE)
    await store.take_up([ONE], within=10)
    await until(lambda: len(issuer.asked) >= 3)
    assert read() not in {None, "token-1"}
    store.close()


@pytest.mark.usefixtures("quick")
async def test_last_token_serves_until_its_end_when_no_other_comes(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    """And then the backend has no credential, so that the next one is asked; it recovers by itself."""
    issuer.life = 0.05
    store = TokenStore(issuer.get, now=issuer.clock)
    read = store.credential(ONE)
    await store.take_up([ONE], within=10)
    issuer.refusing = True
    refused = len(issuer.asked) + 2
    await until(lambda: len(issuer.asked) >= refused)
    assert str(read()).startswith("token-")
    issuer.now += 1
    with pytest.raises(CredentialUnavailable):
        read()
    assert "/one.json cannot be had: the issuer says no" in caplog.text
    assert "token-1" not in caplog.text
    issuer.refusing = False
    asked = len(issuer.asked)
    await until(lambda: len(issuer.asked) > asked + 1)
    assert str(read()).startswith("token-")
    store.close()


async def test_waits_grow_while_it_is_refused(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer that is down is not hammered."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        if seconds >= 1:
            waits.append(seconds)
        await sleep(0.001)

    monkeypatch.setattr("extproc.credentials.store.asyncio.sleep", note)
    issuer.refusing = True
    store = TokenStore(issuer.get, now=issuer.clock)
    await store.take_up([ONE], within=10)
    async with asyncio.timeout(10):
        while len(waits) < 9:
            await sleep(0.005)
    store.close()
    assert waits[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_start_goes_on_when_the_issuer_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    """The other backends serve; this one fails over until its token has come."""
    answered = threading.Event()

    def hang(_request: TokenRequest) -> Token:
        answered.wait(30)
        return Token(secret=Secret("late"), expires_at=float("inf"))

    store = TokenStore(hang)
    read = store.credential(ONE)
    await store.take_up([ONE], within=0.05)
    with pytest.raises(CredentialUnavailable):
        read()
    assert caplog.records[0].levelno == logging.WARNING
    answered.set()

    def arrived() -> bool:
        try:
            return read() == "late"
        except CredentialUnavailable:
            return False

    await until(arrived)
    store.close()


@pytest.mark.usefixtures("quick")
async def test_a_token_nobody_needs_any_more_is_not_renewed(issuer: Issuer) -> None:
    """Requests under way may still read the last one."""
    issuer.life = 0.05
    store = TokenStore(issuer.get, now=issuer.clock)
    read = store.credential(ONE)
    await store.take_up([ONE, OTHER], within=10)
    store.keep_only([OTHER])
    await until(lambda: issuer.asked.count(OTHER) >= issuer.asked.count(ONE) + 3)
    assert issuer.asked.count(ONE) <= 3
    assert str(read()).startswith("token-")
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert len(tasks) == 1
    store.close()
    await asyncio.sleep(0)
    assert all(task.done() or task.cancelling() for task in tasks)


async def test_token_that_had_ended_when_it_came_is_none(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    """A clock that is wrong is told of."""
    issuer.life = -1
    store = TokenStore(issuer.get, now=issuer.clock)
    await store.take_up([ONE], within=10)
    with pytest.raises(CredentialUnavailable):
        store.credential(ONE)()
    assert "clock" in caplog.text
    store.close()


async def test_a_defect_in_the_library_does_not_end_the_renewal(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and asked again."""

    def broken(_request: TokenRequest) -> Token:
        raise RuntimeError("odd")

    store = TokenStore(broken)
    await store.take_up([ONE], within=10)
    await until(lambda: "odd" in caplog.text)
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert len(tasks) == 1
    assert not tasks[0].done()
    store.close()
