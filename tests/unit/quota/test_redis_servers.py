"""Real Redis servers that go away, move, or are not to be trusted: what a store makes of it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from extproc.admission.caller import Caller
from extproc.admission.charge import Line, Settled, Settlement, Unit, Window
from extproc.admission.demand import Demand
from extproc.admission.policy import compile_budget
from extproc.admission.scope import Subject
from extproc.admission.tariff import Tariff
from extproc.config.limits import Budget
from extproc.errors import BudgetExhausted
from extproc.exchange.charging import Charge
from extproc.quota.gate import Gate
from extproc.quota.redis_store import RedisStore
from extproc.quota.store import QuotaStore, StoreUnavailable
from tests.fakes.redis_server import (
    REDIS,
    VALKEY,
    ClusterOfServers,
    RedisServer,
    WatchedServers,
    begin_move,
    end_move,
    until,
)
from tests.fakes.tls_front import Authority, TLSFront

SECRET = "hunter2-the-password"
KEY = "{kortex}:reservations"
LIMIT = 1_000_000
NAMES = count()
ROOT = Path(__file__).resolve().parents[3]
LEAST = ("+eval", "+evalsha", "+time", "+@read", "+@write")
"""What the user of README.md may do."""


def line(amount: int, *, name: str = "w", enforced: bool = True) -> Line:
    """Of a sum that never ends."""
    measure = Window(limit=LIMIT, slot=0, first=0, ends=None, until=None)
    return Line(counter=name, unit=Unit.TOKENS, amount=amount, measure=measure, enforced=enforced)


@contextlib.asynccontextmanager
async def opened(url: str, *, password: str | None = None, patience: float = 5.0) -> AsyncIterator[RedisStore]:
    """A store, patient enough for a busy machine."""
    store = RedisStore(url, password=lambda: password, prefix="kortex", timeout=patience)
    try:
        yield store
    finally:
        await store.close()


async def take(store: QuotaStore, *lines: Line) -> str:
    """The name of what was granted."""
    name = f"id{next(NAMES)}"
    reserved = await store.reserve(name, lines or [line(1)], lasts=900.0)
    assert reserved.granted
    return name


async def settle(store: QuotaStore, name: str, *, used: int = 1, held: int = 1) -> None:
    """What one held."""
    lines = (Settled(counter="w", slot=0, held=held, used=used),)
    await store.settle(f"b{next(NAMES)}", [Settlement(reservation=name, lines=lines, closes=True)])


async def left(store: QuotaStore, name: str = "w") -> int:
    """Of the sum, without taking any of it."""
    reserved = await store.reserve(f"id{next(NAMES)}", [line(0, name=name), line(LIMIT + 1, name="no")], lasts=1.0)
    return reserved.levels[0].free


async def again(what: Callable[[], Awaitable[object]]) -> int:
    """Try until it works; how often it did not."""
    failures = 0
    async with asyncio.timeout(90):
        while True:
            try:
                await what()
            except StoreUnavailable:
                failures += 1
                await asyncio.sleep(0.1)
            else:
                return failures


def shown(error: BaseException) -> str:
    """All that a log could have of it."""
    return "".join(traceback.format_exception(error))


@pytest.fixture(params=[REDIS, VALKEY], ids=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One, empty, of both kinds in turn."""
    with RedisServer(program=request.param) as server:
        yield server


# ---- one server


async def test_what_is_asked_for_at_once_goes_in_one_round_trip(server: RedisServer) -> None:
    """Reservations and settlements alike."""
    async with opened(f"redis://{server.address}") as store:
        await settle(store, await take(store))
        held = await take(store)
        with server.client() as client:
            before = client.info("stats")["total_reads_processed"]
            await asyncio.gather(settle(store, held), *(take(store) for _ in range(20)))
            # The second is that of the question itself.
            assert client.info("stats")["total_reads_processed"] - before == 2
        assert await left(store) == LIMIT - 22


async def test_a_server_that_has_been_restarted_is_asked_again(server: RedisServer) -> None:
    """Connections that it has closed, and scripts that it does not know any more, are not worth mentioning."""
    async with opened(f"redis://{server.address}") as store:
        await asyncio.gather(*(take(store) for _ in range(50)))
        server.do("SCRIPT", "FLUSH")
        await take(store)
        server.kill()
        server.start()
        await take(store)
        assert await left(store) == LIMIT - 1


async def test_what_was_granted_to_nobody_is_given_back(server: RedisServer) -> None:
    """The answer came too late; what was asked for in shadow mode is given back, too."""
    async with opened(f"redis://{server.address}", patience=0.5) as store:
        await again(lambda: take(store, line(1)))
        server.freeze()
        with pytest.raises(StoreUnavailable, match="no answer within 500 ms"):
            await take(store, line(700), line(300, name="shadow", enforced=False))
        server.thaw()
        until(lambda: _holds(server, "701"), "the server did what it was asked")
        await again(store.tend)
        assert _holds(server, "1")
        assert server.do("HGET", "{kortex}:shadow", "h0") == "0"
        assert server.do("ZCARD", KEY) == 1


async def test_what_comes_after_it_was_given_up_takes_nothing(server: RedisServer) -> None:
    """It was longer on its way than the word that nobody waits for it; the settlement gives back nothing then."""
    async with opened(f"redis://{server.address}", patience=0.5) as store:
        server.freeze()
        with pytest.raises(StoreUnavailable):
            await store.reserve("late", [line(700)], lasts=900.0)
        server.thaw()
        await again(store.tend)
        with pytest.raises(StoreUnavailable, match="given up"):
            await store.reserve("late", [line(700)], lasts=900.0)
        await take(store, line(5))
        await settle(store, "late", held=700, used=0)
        assert await left(store) == LIMIT - 5


async def test_a_server_that_is_a_replica_now_is_left(server: RedisServer) -> None:
    """Whoever has its address next is asked; until then nobody counts."""
    with RedisServer() as other:
        async with opened(f"redis://{server.address}") as store:
            await take(store)
            server.do("REPLICAOF", "127.0.0.1", other.port)
            with pytest.raises(StoreUnavailable, match="a replica"):
                await take(store)
            server.do("REPLICAOF", "NO", "ONE")
            await again(lambda: take(store))


# ---- whom to trust, and who is trusted


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Of one's own."""
    return Authority(tmp_path)


async def test_a_server_is_asked_for_its_certificate(server: RedisServer, authority: Authority) -> None:
    """And must have one of the authority for the name that it is called by."""
    with TLSFront(lambda: server.port, authority.context(["localhost"])) as front:
        own = f"ssl_ca_certs={authority.ca_file}"
        async with opened(f"rediss://localhost:{front.port}/3?{own}") as store:
            await take(store)
        assert front.secured > 0
        assert "db3" in server.do("INFO", "keyspace")
        async with opened(f"rediss://localhost:{front.port}") as store:
            with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await take(store)
        async with opened(f"rediss://127.0.0.1:{front.port}?{own}") as store:
            with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await take(store)


async def test_a_server_may_ask_for_ours(server: RedisServer, authority: Authority) -> None:
    """As Redis does unless it is told otherwise."""
    with TLSFront(lambda: server.port, authority.context(["localhost"], asks_back=True)) as front:
        url = f"rediss://localhost:{front.port}?ssl_ca_certs={authority.ca_file}"
        async with opened(url) as store:
            with pytest.raises(StoreUnavailable):
                await take(store)
        async with opened(f"{url}&ssl_certfile={authority.client_file}&ssl_keyfile={authority.client_file}") as store:
            await take(store)


async def test_a_user_needs_few_rights_and_keeps_the_password() -> None:
    """Also when it is not the right one."""
    user = ("user", "counter", "on", f">{SECRET}", "~{kortex}:*", *LEAST)
    with RedisServer(user, ("user", "default", "off")) as server:
        url = f"redis://counter@{server.address}"
        async with opened(url, password=SECRET) as store:
            await settle(store, await take(store))
            assert await store.first("m", until=None)
            await store.tend()
        async with opened(url, password=f"not-{SECRET}") as store:
            with pytest.raises(StoreUnavailable, match="invalid username-password pair") as refusal:
                await take(store)
            assert SECRET not in shown(refusal.value)
            assert SECRET not in repr(vars(store))


# ---- sentinels


async def test_another_master_takes_over() -> None:
    """Nobody starts anything again, and what was counted stays counted; a sentinel may be missing, too."""
    with WatchedServers(password=SECRET) as watched:
        master, replica = watched.servers
        watched.sentinels[0].kill()
        async with opened(watched.url, password=SECRET) as store:
            await take(store, line(400))
            until(lambda: _holds(replica, "400"), "the replica has it")
            master.kill()
            with pytest.raises(StoreUnavailable) as refusal:
                await take(store)
            assert SECRET not in shown(refusal.value)
            await again(lambda: take(store))
            assert await left(store) == LIMIT - 401


async def test_a_master_hands_over() -> None:
    """It lives on as a replica, which must not count."""
    with WatchedServers() as watched:
        master, replica = watched.servers
        async with opened(watched.url) as store:
            await take(store)
            until(lambda: _holds(replica, "1"), "the replica has it")
            watched.sentinels[0].do("SENTINEL", "FAILOVER", "main")
            until(lambda: master.do("INFO", "replication")["role"] == "slave", "the master is a replica")
            await again(lambda: take(store))
            assert await left(store) == LIMIT - 2
            assert _holds(replica, "2")


async def test_sentinels_may_speak_tls(authority: Authority) -> None:
    """They and the master: rediss+sentinel is of both."""
    context = authority.context(["localhost", "127.0.0.1"])
    with RedisServer() as master, TLSFront(lambda: master.port, context) as front:
        watched = ("sentinel", "monitor", "main", "127.0.0.1", str(front.port), "1")
        with RedisServer(watched, sentinel=True) as sentinel, TLSFront(lambda: sentinel.port, context) as watching:
            url = f"rediss+sentinel://localhost:{watching.port}/main"
            async with opened(f"{url}?ssl_ca_certs={authority.ca_file}") as store:
                await again(lambda: take(store))
            assert (front.secured > 0, watching.secured > 0) == (True, True)
            async with opened(url) as store:
                with pytest.raises(StoreUnavailable):
                    await take(store)


def _holds(server: RedisServer, amount: str) -> bool:
    return bool(server.do("HGET", "{kortex}:w", "h0") == amount)


# ---- clusters


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterOfServers]:
    """Three nodes."""
    with ClusterOfServers(key=KEY) as cluster:
        yield cluster


async def test_counters_move_to_another_node_while_they_are_taken_from(cluster: ClusterOfServers) -> None:
    """There and back: nothing is counted twice, and nothing is lost."""
    async with opened(cluster.url) as store:
        before = await left(store)
        taken = 0
        moved = asyncio.Event()

        async def taking() -> None:
            nonlocal taken
            while not moved.is_set():
                await again(lambda: take(store))
                taken += 1

        tasks = [asyncio.create_task(taking()) for _ in range(4)]
        for _ in range(2):
            target = next(one for one in cluster.servers if one is not cluster.owner)
            await asyncio.to_thread(cluster.move, target)
            await asyncio.sleep(0.2)
        moved.set()
        await asyncio.gather(*tasks)
        assert taken > 4
        assert before - await left(store) == taken


async def test_a_move_that_takes_its_time(cluster: ClusterOfServers) -> None:
    """While some counters are here and others there, nobody can count; then the new node does."""
    async with opened(cluster.url, patience=1.0) as store:
        await again(lambda: take(store))
        before = await left(store)
        source = cluster.owner
        target = next(one for one in cluster.servers if one is not source)
        begin_move(source, target, cluster.slot)
        with pytest.raises(StoreUnavailable):
            await take(store)
        end_move(source, target, cluster.slot, cluster.servers)
        await again(lambda: take(store))
        assert await left(store) == before - 1


async def test_a_replica_takes_over_in_a_cluster() -> None:
    """Also when the first node that the url names is the one that is gone."""
    with ClusterOfServers(key=KEY) as cluster:
        owner = cluster.owner
        cluster.servers.sort(key=lambda one: one is not owner)
        url = cluster.url
        replica = cluster.add_replica()
        async with opened(url) as store:
            await take(store, line(400))
            assert owner.do("WAIT", 1, 10_000) == 1
            owner.kill()
            failures = await again(lambda: take(store))
            assert failures > 0
            assert await left(store) == LIMIT - 401
        assert replica.do("INFO", "replication")["role"] == "master"
        async with opened(url) as store:
            await again(lambda: take(store))


async def test_a_cluster_may_speak_tls(authority: Authority) -> None:
    """Each of its nodes."""
    with contextlib.ExitStack() as stack:
        context = authority.context(["127.0.0.1"])
        fronts: list[TLSFront] = []

        def announced(port: int) -> int:
            fronts.append(stack.enter_context(TLSFront(lambda: port, context)))
            return fronts[-1].port

        cluster = stack.enter_context(ClusterOfServers(key=KEY, announced=announced))
        url = f"rediss+cluster://127.0.0.1:{fronts[0].port}"
        async with opened(f"{url}?ssl_ca_certs={authority.ca_file}") as store:
            await again(lambda: take(store))
            target = next(one for one in cluster.servers if one is not cluster.owner)
            cluster.move(target)
            await again(lambda: take(store))
        async with opened(url) as store:
            with pytest.raises(StoreUnavailable):
                await take(store)


async def test_a_node_alone_is_not_a_cluster(cluster: ClusterOfServers) -> None:
    """Whoever writes redis:// for one of a cluster's is told what to write."""
    stranger = next(one for one in cluster.servers if one is not cluster.owner)
    async with opened(f"redis://{stranger.address}") as store:
        with pytest.raises(StoreUnavailable, match=r"redis\+cluster://"):
            await take(store)


# ---- hosts


def test_hosts_whose_clocks_differ_share_a_window(server: RedisServer) -> None:
    """By the server's clock: one that is ahead, and one behind, see what the other has used."""
    program = """
import asyncio, contextlib, time
real, clock = time.time, time.monotonic
time.time, time.monotonic = lambda: real() + {skew}, lambda: clock() + {skew}
from tests.unit.quota.test_redis_servers import spend
print(asyncio.run(spend("redis://{address}")))
"""
    granted = []
    for skew in (-3_600, 3_600):
        command = [sys.executable, "-c", program.format(skew=skew, address=server.address)]
        host = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        granted.append(int(host.stdout))
    assert granted == [10, 0]


async def spend(url: str) -> int:
    """From a budget for ten in a rolling quarter of an hour: how many of fifteen were let through."""
    budget = Budget.model_validate({"name": "b", "tokens": 10, "window": "rolling 15m", "estimator": {"cap": 1}})
    charge = Charge(
        tariff=Tariff([compile_budget(budget)], Subject(caller=Caller(key="ci"), route="r", model="m", headers={})),
        demand=Demand(input=0, asked=None, most=None, prices=()),
        stream=False,
    )
    granted = 0
    async with opened(url) as store:
        gate = Gate(store, lasts=60.0, observer=Unobserved(), notifier=Unobserved())
        for _ in range(15):
            with contextlib.suppress(BudgetExhausted):
                await gate.admit(charge)
                granted += 1
    return granted


class Unobserved:
    """Neither telemetry nor webhook."""

    def limited(self, policy: str, kind: str, mode: str) -> None:
        pass

    def passed(self, budget: object, percent: int = 0) -> None:
        pass

    def uncounted(self, decision: str) -> None:
        pass

    def unsettled(self, count: int) -> None:
        pass

    def store_up(self, *, up: bool) -> None:
        pass
