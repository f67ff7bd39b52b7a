"""Which settings a reload may change."""

from __future__ import annotations

import pytest

from extproc.cli.without_secrets import compile_without_secrets
from extproc.config.load import load
from extproc.exchange.snapshot import Snapshot
from extproc.server.fixed_at_start import FixedAtStart, check_fixed_at_start


def snapshot(gateway: str) -> Snapshot:
    """A config with these settings of the gateway."""
    return compile_without_secrets(load(f"gateway: {{{gateway}}}".encode(), {}).config)


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        pytest.param("listen: '127.0.0.1:1'", "gateway.listen", id="listen"),
        pytest.param("admin: '127.0.0.1:1'", "gateway.admin", id="admin"),
        pytest.param("heapLimit: 1GiB", "gateway.heapLimit", id="heapLimit"),
        pytest.param("maxConnections: 10", "gateway.maxConnections", id="maxConnections"),
        pytest.param("accessLog: false", "gateway.accessLog", id="accessLog"),
        pytest.param("tracing: {otlpEndpoint: 'http://c:4318'}", "gateway.tracing", id="tracing"),
    ],
)
def test_reload_is_refused_when_it_changes_what_only_a_start_can(setting: str, name: str) -> None:
    """By the name that stands in the file."""
    with pytest.raises(FixedAtStart, match=f"^{name} cannot change while the gateway runs"):
        check_fixed_at_start(snapshot(""), snapshot(setting))


def test_the_ledger_stays_where_it_is() -> None:
    """The workers write where its writer reads."""
    other = compile_without_secrets(load(b"ledger: {}", {}).config)
    with pytest.raises(FixedAtStart, match=r"^ledger cannot change while the gateway runs"):
        check_fixed_at_start(snapshot(""), other)


def test_all_such_settings_are_told_at_once() -> None:
    """One restart mends them all."""
    with pytest.raises(FixedAtStart, match=r"^gateway\.listen, gateway\.accessLog cannot change"):
        check_fixed_at_start(snapshot(""), snapshot("accessLog: false, listen: '127.0.0.1:1'"))


@pytest.mark.parametrize(
    "setting",
    ["bodyLimit: 1MiB", "drain: 1s", "retries: {perBackend: 0}", "timeouts: {connect: 1s}", "logLevel: debug"],
)
def test_reload_may_change_the_rest(setting: str) -> None:
    """Those take effect with the next request."""
    check_fixed_at_start(snapshot(""), snapshot(setting))
