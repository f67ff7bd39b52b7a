"""Whether an address can be had, found out before Envoy would share it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from extproc.server.addresses import AddressUnavailable, check_free, listen, spell_address


@pytest.fixture
def taken() -> Iterator[int]:
    """A port where somebody listens, and lets others share it as Envoy does."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_address_is_refused_when_somebody_listens_there(taken: int, host: str) -> None:
    """Also on one of all interfaces, and also when Envoy could have shared it."""
    with pytest.raises(AddressUnavailable, match=f"^{host}:{taken} is in use: another program listens there$"):
        check_free(f"{host}:{taken}")


def test_address_is_free_when_its_listener_has_just_ended() -> None:
    """Connections that linger in TIME_WAIT do not keep a gateway from starting again."""
    with listen("127.0.0.1:0") as first:
        address = spell_address(first)
        with socket.create_connection(first.getsockname()) as client:
            first.setblocking(True)
            first.accept()[0].close()
            assert client.recv(1) == b""
    check_free(address)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        pytest.param("192.0.2.1:0", "192.0.2.1:0 is no address of this machine", id="somebody else's"),
        pytest.param("nowhere.invalid:0", "nowhere.invalid:0: nowhere.invalid is no address", id="a name of nobody"),
    ],
)
def test_reason_is_said_when_an_address_cannot_be_had(address: str, reason: str) -> None:
    """In words that tell what to mend."""
    with pytest.raises(AddressUnavailable, match=reason):
        listen(address)


def test_socket_listens_when_an_address_is_had() -> None:
    """On the port that was free."""
    with listen("127.0.0.1:0") as listening, socket.create_connection(listening.getsockname()) as client:
        assert spell_address(listening) == f"127.0.0.1:{client.getpeername()[1]}"
