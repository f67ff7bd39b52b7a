"""What is rendered, on the real Envoy: accepted, however little or much there is, with limits that hold to the byte."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import httpx
import pytest

from extproc.bootstrap.process import find_envoy
from extproc.bootstrap.render import (
    Placement,
    render_bootstrap,
    render_clusters,
    render_listeners,
    render_static,
)
from extproc.bootstrap.system_roots import find_system_roots
from extproc.bootstrap.xds_files import write_json
from extproc.config.load import load
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.providers.registry import PROVIDERS, SETTINGS
from tests.envoy.kortex_process import KortexProcess
from tests.fakes import FakeProvider

EXAMPLE: Final = Path(__file__).resolve().parents[2] / "envoy" / "kortex.yaml"
EVERYTHING: Final = """
gateway: {listen: "[::]:8080", auth: none, bodyLimit: 1GiB, heapLimit: 1GiB, timeouts: {total: 1h}}
backends:
  named: {provider: openai, apiKey: {env: KEY}}
  numbered: {provider: custom, url: "https://10.0.0.1:8443/v1"}
  private: {provider: vllm, url: "https://vllm.example.com", caFile: CA_FILE}
  plain: {provider: ollama}
  ipv6: {provider: custom, url: "http://[::1]:9"}
  demo: {provider: demo}
  aws: {provider: bedrock, region: us-east-1}
  aws-profile: {provider: bedrock, region: eu-west-1, profile: team}
  aws-file: {provider: bedrock, region: eu-west-1, credentialsFile: CA_FILE}
  aws-key: {provider: bedrock, region: cn-north-1, apiKey: {env: KEY}}
routes:
  all: {models: ["*"], defaultBackend: {name: named}, fallback: {backends: [numbered, private, plain, ipv6, demo]}}
  aws: {models: [aws], defaultBackend: {name: aws}, fallback: {backends: [aws-profile, aws-file, aws-key]}}
  slow: {models: [slow], defaultBackend: {name: named}, retries: {backoff: 1m}, timeouts: {connect: 1h}}
"""
DEMO: Final = """
gateway: {GATEWAY}
backends: {d: {provider: demo}}
routes: {d: {models: [d], defaultBackend: {name: d}}}
"""
PATIENCE: Final = 60.0


def compiled(text: str) -> Snapshot:
    """Without secrets, which no file of Envoy's holds."""
    config = load(text.encode(), SETTINGS).config
    credentials = dict.fromkeys(config.backends, lambda: None)
    return compile_snapshot(config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials=credentials)


def placed(directory: Path) -> Placement:
    """Everything in one folder; no worker is there unless a test starts one."""
    return Placement(
        xds_directory=str(directory),
        workers=(f"unix:{directory}/worker-0.sock",),
        admin=f"unix:{directory}/admin.sock",
        system_ca=find_system_roots(),
    )


class EnvoyAlone:
    """Envoy with rendered files and no worker. ``change`` may edit the bootstrap before the start."""

    def __init__(self, snapshot: Snapshot, change: Callable[[dict[str, Any]], None] = lambda _bootstrap: None) -> None:
        self._snapshot = snapshot
        self._change = change
        # Not pytest's folder: the path of a Unix socket must be short.
        self._folder = tempfile.TemporaryDirectory(prefix="kortex-")
        self._process: subprocess.Popen[bytes] | None = None
        self.admin = httpx.Client(
            transport=httpx.HTTPTransport(uds=f"{self._folder.name}/admin.sock"), base_url="http://envoy", timeout=10
        )

    def __enter__(self) -> Self:
        directory, targets = Path(self._folder.name), self._snapshot.targets.values()
        bootstrap = render_bootstrap(self._snapshot.config, placed(directory))
        self._change(bootstrap)
        write_json(directory / "bootstrap.json", bootstrap)
        write_json(directory / "cds.json", render_clusters(targets, version="1"))
        write_json(directory / "lds.json", render_listeners(self._snapshot, targets, version="1"))
        command = [str(find_envoy(None)), "-c", f"{directory}/bootstrap.json", "--disable-hot-restart"]
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--concurrency", "2", "-l", "warning"], stderr=log, start_new_session=True
            )
        try:
            self._await_listeners()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"what Envoy logged last:\n{self.log[-4_000:]}")
        self._end()

    @property
    def url(self) -> str:
        """Where clients connect."""
        [edge] = (line for line in self.admin.get("/listeners").text.splitlines() if line.startswith("edge::"))
        return f"http://{edge.removeprefix('edge::')}"

    @property
    def log(self) -> str:
        """Warnings and worse."""
        return (Path(self._folder.name) / "log").read_text("utf-8", "replace")

    @property
    def memory(self) -> int:
        """Bytes that Envoy has allocated."""
        return int(self.admin.get("/memory").json()["allocated"])

    def statistic(self, name: str) -> str:
        """One value."""
        return self.admin.get("/stats", params={"filter": f"^{name}$"}).text.strip().rpartition(": ")[2]

    def _await_listeners(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            if self._has_admin() and self.statistic("listener_manager.lds.version_text") == '"1"':
                return
            time.sleep(0.02)
        raise TimeoutError(self.log)

    def _has_admin(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(f"{self._folder.name}/admin.sock") == 0

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.admin.close()
        self._folder.cleanup()


@pytest.mark.parametrize(
    "config",
    [
        pytest.param("", id="nothing"),
        pytest.param(EVERYTHING, id="everything"),
        pytest.param(EXAMPLE.read_text("utf-8").replace("/etc/kortex/private-ca.pem", "CA_FILE"), id="example"),
    ],
)
def test_envoy_accepts_what_is_rendered(config: str, tmp_path: Path) -> None:
    """And has nothing to say about it: no field that it does not know, none that it will soon forget."""
    snapshot = compiled(config.replace("CA_FILE", find_system_roots()))
    write_json(tmp_path / "static.json", render_static(snapshot, placed(tmp_path)))
    command = [str(find_envoy(None)), "--mode", "validate", "-c", f"{tmp_path}/static.json", "-l", "warning"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_five_hundred_backends_load(capsys: pytest.CaptureFixture[str]) -> None:
    """With figures for whoever reads them; what counts is that they are served. Most of the memory is for TLS."""
    names = [f"b{number}" for number in range(500)]
    backends = "".join(f"  {name}: {{provider: custom, url: 'https://127.0.0.1:9/{name}'}}\n" for name in names)
    routes = "".join(f"  {name}: {{models: [{name}], defaultBackend: {{name: {name}}}}}\n" for name in names)
    snapshot = compiled(f'gateway: {{listen: "127.0.0.1:0"}}\nbackends:\n{backends}routes:\n{routes}')
    began = time.monotonic()
    with EnvoyAlone(snapshot) as envoy:
        seconds, megabytes = time.monotonic() - began, envoy.memory / 1e6
        assert envoy.statistic("listener_manager.total_listeners_active") == "501"
        assert envoy.statistic("cluster_manager.active_clusters") == "1002"
        assert envoy.log == ""
    with capsys.disabled():
        print(f" [500 backends: rendered and loaded in {seconds:.1f} s, {megabytes:.0f} MB in Envoy]", end="")  # noqa: T201 - figures for people


def test_requests_are_refused_in_openais_json_when_no_worker_is_there() -> None:
    """A gateway whose processor is gone says so, and not where it was."""
    with EnvoyAlone(compiled('gateway: {listen: "127.0.0.1:0"}')) as envoy:
        reply = httpx.post(f"{envoy.url}/v1/chat/completions", json={})
    assert reply.status_code == 503
    assert reply.json()["error"]["code"] == "gateway_unavailable"
    assert reply.json()["error"]["type"] == "server_error"
    assert "sock" not in reply.text


def test_requests_are_refused_in_openais_json_when_memory_runs_out() -> None:
    """At 95 % of the limit; here it is far below what an idle Envoy has."""

    def narrow(bootstrap: dict[str, Any]) -> None:
        bootstrap["overload_manager"]["resource_monitors"][1]["typed_config"]["max_heap_size_bytes"] = 1 << 20

    with EnvoyAlone(compiled('gateway: {listen: "127.0.0.1:0", heapLimit: 64MiB}'), narrow) as envoy:
        deadline = time.monotonic() + PATIENCE
        # The monitor looks four times a second; before it has, the worker is what is missing.
        while (reply := httpx.get(f"{envoy.url}/v1/models")).json()["error"]["code"] == "gateway_unavailable":
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert reply.status_code == 503
    assert reply.json()["error"]["code"] == "overloaded"


def test_start_does_not_wait_for_a_name_server_that_is_silent() -> None:
    """Envoy's own defaults would keep every other backend from serving for more than a minute."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        address = {"address": "127.0.0.1", "port_value": silent.getsockname()[1]}

        def misdirect(bootstrap: dict[str, Any]) -> None:
            resolver = bootstrap["typed_dns_resolver_config"]["typed_config"]
            resolver["resolvers"] = [{"socket_address": address}]

        config = """
gateway: {listen: "127.0.0.1:0"}
backends: {b: {provider: custom, url: "http://provider.example.com"}}
routes: {r: {models: [m], defaultBackend: {name: b}}}
"""
        began = time.monotonic()
        with EnvoyAlone(compiled(config), misdirect):
            assert time.monotonic() - began < PATIENCE / 3


def body_of(size: int) -> bytes:
    """A chat call of exactly so many bytes."""
    call = json.dumps({"model": "d", "messages": [{"role": "user", "content": ""}]}).encode()
    return call.replace(b'""', b'"' + b"x" * (size - len(call)) + b'"')


def in_pieces(body: bytes) -> Iterator[bytes]:
    """Makes httpx send it chunked, without its length."""
    for start in range(0, len(body), 16_000):
        yield body[start : start + 16_000]


@pytest.mark.parametrize(
    ("limit", "size"),
    [
        pytest.param("100KiB", 100 << 10, id="less-than-a-connections-buffer"),
        pytest.param("4MiB", 4 << 20, id="more-than-a-connections-buffer"),
    ],
)
def test_body_limit_holds_to_the_byte(limit: str, size: int) -> None:
    """Exactly the limit is served; a byte more is a 413, whether its length was announced or not."""
    with KortexProcess(DEMO.replace("GATEWAY", f"bodyLimit: {limit}")) as kortex, httpx.Client(timeout=60) as client:
        url = f"{kortex.base_url}/chat/completions"
        assert client.post(url, content=body_of(size)).status_code == 200
        assert client.post(url, content=in_pieces(body_of(size))).status_code == 200
        for body in (body_of(size + 1), in_pieces(body_of(size + 1))):
            reply = client.post(url, content=body)
            assert reply.status_code == 413
            assert reply.json()["error"]["code"] == "request_too_large"
            assert str(size) in reply.json()["error"]["message"]


def test_connections_are_refused_when_there_are_too_many() -> None:
    """Those that are open go on; a place that is given back is taken again."""
    with KortexProcess(DEMO.replace("GATEWAY", "maxConnections: 3")) as kortex:
        url = httpx.URL(kortex.base_url)

        def connect() -> socket.socket:
            return socket.create_connection((url.host, url.port or 0), timeout=10)

        def asks(connection: socket.socket) -> bool:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"GET /v1/models HTTP/1.1\r\nhost: k\r\n\r\n")
                return connection.recv(65_536).startswith(b"HTTP/1.1 200")
            return False

        def served_again() -> bool:
            with connect() as connection:
                return asks(connection)

        held = [connect() for _ in range(3)]
        assert [asks(connection) for connection in held] == [True, True, True]
        with connect() as one_more:
            assert not asks(one_more)
        assert asks(held[0])
        for connection in held:
            connection.close()
        kortex.until(served_again, "a connection is accepted again")


def test_gateway_serves_when_it_has_no_backends() -> None:
    """Arrival answers everything itself."""
    with KortexProcess("gateway: {}") as kortex:
        assert httpx.get(f"{kortex.base_url}/models").json() == {"object": "list", "data": []}
        reply = httpx.post(f"{kortex.base_url}/chat/completions", content=body_of(100))
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """A provider with a certificate for a name, reached as ``host`` and trusted by whom."""

    name: str
    host: str
    trusted: Literal["own", "system", "nobody"]


CERTIFIED: Final = {
    "name": Certified(name="localhost", host="localhost", trusted="own"),
    "wildcard": Certified(name="*.localhost", host="api.localhost", trusted="own"),
    "address": Certified(name="127.0.0.1", host="127.0.0.1", trusted="own"),
    "system": Certified(name="localhost", host="localhost", trusted="system"),
    "other-name": Certified(name="other.example.com", host="localhost", trusted="own"),
    "name-for-address": Certified(name="localhost", host="127.0.0.1", trusted="own"),
    "wildcard-for-nothing": Certified(name="*.localhost", host="localhost", trusted="own"),
    "unknown-authority": Certified(name="localhost", host="localhost", trusted="nobody"),
}


@pytest.fixture(scope="module")
def certified() -> Iterator[tuple[KortexProcess, dict[str, FakeProvider]]]:
    """A gateway in front of a provider for each case, whose models have the names of the cases."""
    with contextlib.ExitStack() as stack:
        fakes = {
            case: stack.enter_context(FakeProvider(tls=True, certificate_names=[certified.name]))
            for case, certified in CERTIFIED.items()
        }
        backends = {
            case: {"provider": "custom", "url": f"https://{certified.host}:{fakes[case].port}"}
            | ({"caFile": str(fakes[case].ca_file)} if certified.trusted == "own" else {})
            for case, certified in CERTIFIED.items()
        }
        routes = {case: {"models": [case], "defaultBackend": {"name": case}} for case in CERTIFIED}
        config = {"gateway": {"retries": {"perBackend": 0}}, "backends": backends, "routes": routes}
        roots = {"SSL_CERT_FILE": str(fakes["system"].ca_file)}
        yield stack.enter_context(KortexProcess(config, env=roots)), fakes


def ask(kortex: KortexProcess, model: str) -> httpx.Response:
    """One chat call."""
    call = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    return httpx.post(f"{kortex.base_url}/chat/completions", json=call, timeout=30)


@pytest.mark.parametrize("case", ["name", "wildcard", "address", "system"])
def test_provider_is_trusted_when_its_certificate_is_its_own(
    certified: tuple[KortexProcess, dict[str, FakeProvider]], case: str
) -> None:
    """By its backend's authority or the system's. Its name is sent as SNI, an address is not."""
    kortex, fakes = certified
    assert ask(kortex, case).status_code == 200
    host = CERTIFIED[case].host
    assert fakes[case].requests[0].server_name == (None if host == "127.0.0.1" else host)


@pytest.mark.parametrize("case", ["other-name", "name-for-address", "wildcard-for-nothing", "unknown-authority"])
def test_provider_gets_nothing_when_its_certificate_is_not_its_own(
    certified: tuple[KortexProcess, dict[str, FakeProvider]], case: str
) -> None:
    """The right name, from the right authority: neither alone is enough."""
    kortex, fakes = certified
    reply = ask(kortex, case)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "tls_failure")
    assert fakes[case].requests == []
