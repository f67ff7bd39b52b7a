"""``quota:`` as operators write it."""

from __future__ import annotations

import pytest

from extproc.config.limits import Quota
from extproc.config.load import ConfigError, load
from extproc.providers.registry import SETTINGS
from extproc.quota.open_store import open_store


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "rediss://kortex@redis.internal:6380/2?ssl_ca_certs=/etc/ca.pem",
        "redis://[::1]:6379/0",
        "redis+cluster://a:7000",
        "redis+cluster://counter@a:7000,[::1]:7001/0",
        "rediss+cluster://a:7000?ssl_ca_certs=/etc/ca.pem",
        "unix:///run/redis.sock",
        "unix:///run/redis.sock?db=2",
        "redis+sentinel://a:26379,[::1]:26379/main",
        "rediss+sentinel://counter@a:26379,b:26379/main?db=2&ssl_certfile=/etc/own.pem&ssl_keyfile=/etc/own.key",
    ],
)
def test_whatever_is_taken_can_be_opened(url: str) -> None:
    """No server is reached for yet."""
    quota = load(f'quota: {{url: "{url}"}}'.encode(), SETTINGS).config.quota
    assert open_store(quota, lambda: None).now() > 0


def test_a_file_may_be_anywhere() -> None:
    """It is opened when something is counted."""
    assert Quota(url="sqlite:////var/lib/kortex/quota.db").url == "sqlite:////var/lib/kortex/quota.db"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        pytest.param("redis://:hunter2@db", "a password is never written here", id="password"),
        pytest.param("redis+sentinel://me:hunter2@a:1,b:2/x", "a password is never written here", id="watched"),
        pytest.param("redis://db?password=hunter2", "a password is never written here", id="in-query"),
        pytest.param("unix:///r.sock?password=hunter2", "a password is never written here", id="socket"),
        pytest.param("unix://hunter2", "write sqlite:///FILE", id="no-socket"),
        pytest.param("file:///hunter2.db", "write sqlite:///FILE", id="scheme"),
        pytest.param("hunter2", "write sqlite:///FILE", id="no-scheme"),
        pytest.param("sqlite://hunter2", "write sqlite:///FILE", id="two-slashes"),
        pytest.param("sqlite:///", "write sqlite:///FILE", id="no-file"),
        pytest.param("redis://", "write sqlite:///FILE", id="no-host"),
        pytest.param("redis://db:hunter2", "write sqlite:///FILE", id="port"),
        pytest.param("redis://db/hunter2", "write sqlite:///FILE", id="database"),
        pytest.param("redis+sentinel://hunter2/main", "write sqlite:///FILE", id="sentinel-without-port"),
        pytest.param("redis+sentinel://a:1", "write sqlite:///FILE", id="no-service"),
        pytest.param("redis+cluster://:hunter2@a:1,b:2", "a password is never written here", id="cluster"),
        pytest.param("redis+cluster://hunter2,a:1", "write sqlite:///FILE", id="cluster-without-port"),
        pytest.param("redis+cluster://a:1/2", "write sqlite:///FILE", id="cluster-with-database"),
        pytest.param("redis://a?hunter2", "takes nothing", id="query"),
        pytest.param("redis://a?ssl_ca_certs=hunter2", "takes nothing", id="authority-in-plain-text"),
        pytest.param("rediss://a?ssl_cert_reqs=none", "takes ssl_ca_certs, ssl_certfile, ssl_key", id="unverified"),
        pytest.param("redis+sentinel://a:1/x?db=hunter2", "the number of a database", id="database-of-a-master"),
    ],
)
def test_a_store_that_cannot_be_opened_is_refused(url: str, said: str) -> None:
    """Before any worker ends over it, and without repeating what may be a password."""
    with pytest.raises(ConfigError, match=said) as refusal:
        load(f'quota: {{url: "{url}"}}'.encode(), SETTINGS)
    assert "hunter2" not in str(refusal.value)
