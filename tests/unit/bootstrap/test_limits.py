"""How long a request may be silent, and how much of it is buffered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from extproc.bootstrap.limits import client_body, client_buffer, client_window, provider_body, stream_idle
from extproc.exchange.snapshot import Snapshot

CHAIN = """
backends:
  a: {provider: demo}
  b: {provider: demo}
  c: {provider: demo}
routes:
  r:
    models: ["*"]
    defaultBackend: {name: a}
    fallback: {backends: [b, c]}
    timeouts: {firstToken: FIRST, unstreamed: UNSTREAMED, idle: IDLE}
"""


@pytest.mark.parametrize(
    ("first", "unstreamed", "idle", "hours"),
    [
        pytest.param("60s", "10m", "60s", 1, id="defaults"),
        pytest.param("1s", "19m", "1m", 1, id="an hour less the margin"),
        pytest.param("1s", "19m", "2m", 1, id="an hour"),
        pytest.param("1s", "19m", "121s", 2, id="a second more"),
        pytest.param("1h", "1m", "1m", 4, id="first token"),
    ],
)
def test_idle_limit_is_longer_than_the_longest_plan(
    compiled: Callable[[str], Snapshot], first: str, unstreamed: str, idle: str, hours: int
) -> None:
    """Every backend of the chain may use up its time, and the last one's stream may pause."""
    text = CHAIN.replace("FIRST", first).replace("UNSTREAMED", unstreamed).replace("IDLE", idle)
    assert stream_idle(compiled(text)) == timedelta(hours=hours)


def test_idle_limit_exists_when_there_is_no_plan(compiled: Callable[[str], Snapshot]) -> None:
    """Also a gateway without backends has clients that stop reading."""
    assert stream_idle(compiled("")) == timedelta(hours=1)


@pytest.mark.parametrize(
    ("limit", "buffer", "window"),
    [
        pytest.param("1KiB", 1 << 10, 65_535, id="smallest"),
        pytest.param("100KiB", 100 << 10, 100 << 10, id="small"),
        pytest.param("1GiB", 1 << 20, 1 << 20, id="largest"),
    ],
)
def test_buffers_are_no_larger_than_the_body_limit(
    compiled: Callable[[str], Snapshot], limit: str, buffer: int, window: int
) -> None:
    """Envoy never refuses what fits in them. HTTP/2 has no window under 65,535 bytes."""
    gateway = compiled(f"gateway: {{bodyLimit: {limit}}}").config.gateway
    assert (client_buffer(gateway), client_window(gateway)) == (buffer, window)
    assert client_body(gateway) == gateway.body_limit < provider_body(gateway) < 1 << 32
