"""Addresses as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bootstrap.addresses import listening_address, remote_address
from extproc.bootstrap.typed_config import to_json


@pytest.mark.parametrize(
    ("address", "written"),
    [
        pytest.param("unix:/run/a.sock", {"pipe": {"path": "/run/a.sock"}}, id="socket"),
        pytest.param("worker:9002", {"socket_address": {"address": "worker", "port_value": 9002}}, id="name"),
        pytest.param("[::1]:80", {"socket_address": {"address": "::1", "port_value": 80}}, id="ipv6"),
    ],
)
def test_address_is_one_to_connect_to(address: str, written: dict[str, Any]) -> None:
    """A Unix socket, or a host and a port."""
    assert to_json(remote_address(address)) == written


@pytest.mark.parametrize(
    ("address", "written"),
    [
        pytest.param("unix:/run/a.sock", {"pipe": {"path": "/run/a.sock", "mode": 0o600}}, id="socket"),
        pytest.param("localhost:80", {"socket_address": {"address": "127.0.0.1", "port_value": 80}}, id="localhost"),
        pytest.param(
            "[::]:80",
            {"socket_address": {"address": "::", "port_value": 80, "ipv4_compat": True}},
            id="every-interface",
        ),
        pytest.param("[::1]:80", {"socket_address": {"address": "::1", "port_value": 80}}, id="ipv6-loopback"),
    ],
)
def test_address_is_one_to_listen_on(address: str, written: dict[str, Any]) -> None:
    """A socket is its owner's alone; a name that needs no resolver is an address."""
    assert to_json(listening_address(address)) == written


def test_port_is_written_when_it_is_any_free_one() -> None:
    """Port 0 is the field's default in protobuf, but Envoy insists on a port."""
    assert to_json(listening_address("127.0.0.1:0"))["socket_address"] == {"address": "127.0.0.1", "port_value": 0}
