"""``ledger:`` and ``gateway.tracing:`` as operators write them."""

from __future__ import annotations

import pytest

from extproc.config.load import ConfigError, load
from extproc.providers.registry import SETTINGS


def test_a_ledger_has_defaults() -> None:
    """``ledger: {}`` keeps one in SQLite."""
    ledger = load(b"ledger: {}", SETTINGS).config.ledger
    assert ledger is not None
    assert (ledger.url, ledger.spool_directory, ledger.retention) == ("sqlite:///usage.db", "usage.db.spool", 90)
    assert load(b"", SETTINGS).config.ledger is None


@pytest.mark.parametrize(
    ("url", "spool"),
    [
        pytest.param("sqlite:////var/lib/kortex/usage.db", "/var/lib/kortex/usage.db.spool", id="absolute"),
        pytest.param("postgresql://kortex@db:5433/kortex?sslmode=verify-full", "ledger.spool", id="server"),
    ],
)
def test_the_spool_is_beside_the_database(url: str, spool: str) -> None:
    """Or in the working directory."""
    ledger = load(f'ledger: {{url: "{url}"}}'.encode(), SETTINGS).config.ledger
    assert ledger is not None
    assert ledger.spool_directory == spool


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param('url: "postgresql://me:hunter2@db/x"', "a password is never written here", id="password"),
        pytest.param('url: "postgresql://me@db/x?password=hunter2"', "a password is never written here", id="in-query"),
        pytest.param('url: "mysql://hunter2/x"', "write sqlite:///FILE or postgresql://", id="other-database"),
        pytest.param('url: "postgresql://db"', "write sqlite:///FILE", id="no-database"),
        pytest.param('url: "sqlite://"', "write sqlite:///FILE", id="in-memory"),
        pytest.param('url: "postgresql://db:hunter2/x"', "write sqlite:///FILE", id="port"),
        pytest.param('password: "hunter2"', "a secret is never written here", id="inline-password"),
        pytest.param("password: {env: HUNTER2}", "SQLite has no password", id="sqlite-password"),
        pytest.param("retention: 90", "a number of days, such as 90d", id="no-unit"),
        pytest.param("retention: 0d", "at least 1", id="no-days"),
        pytest.param("spoolLimit: 1MiB", "must be at least 64MiB", id="tiny-spool"),
    ],
)
def test_a_ledger_that_cannot_be_kept_is_refused(text: str, said: str) -> None:
    """Without repeating what may be a password."""
    with pytest.raises(ConfigError, match=said) as refusal:
        load(f"ledger: {{{text}}}".encode(), SETTINGS)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("{}", 'the key "otlpEndpoint" is missing', id="endpoint"),
        pytest.param('{otlpEndpoint: "localhost:4318"}', "not a base URL", id="scheme"),
        pytest.param('{otlpEndpoint: "http://c:4318", sampling: 1.5}', "at most 1", id="share"),
        pytest.param(
            '{otlpEndpoint: "http://c", headers: {authorization: hunter2}}', "never written here", id="secret"
        ),
    ],
)
def test_tracing_that_cannot_work_is_refused(text: str, said: str) -> None:
    """When the configuration is read."""
    with pytest.raises(ConfigError, match=said) as refusal:
        load(f"gateway: {{tracing: {text}}}".encode(), SETTINGS)
    assert "hunter2" not in str(refusal.value)
