"""``kortex serve`` beside an Envoy of its own that was started with what ``kortex render`` had written."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import httpx
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from extproc.bootstrap.process import find_envoy
from tests.envoy.kortex_process import FREE_PORT, ROOT
from tests.fakes import FakeProvider, SlowEvents

HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
KORTEX = (sys.executable, "-m", "extproc.cli.main")
_Found = TypeVar("_Found")


def config(fake: FakeProvider, directory: Path) -> str:
    """The model ``m`` is answered by the fake; the ledger is in the directory."""
    return yaml.safe_dump(
        {
            "gateway": {"listen": FREE_PORT, "admin": FREE_PORT},
            "backends": {fake.name: {"provider": "custom", "url": fake.url}},
            "routes": {"all": {"models": ["m"], "defaultBackend": {"name": fake.name}}},
            "ledger": {"url": f"sqlite:///{directory}/usage.db"},
        }
    )


def until(look: Callable[[], _Found | None], what: str, *, timeout: float = 30.0) -> _Found:
    """The first thing that ``look`` gives and that is true."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if found := look():
                return found
        time.sleep(0.02)
    raise TimeoutError(f"waited in vain until {what}")


def health(channel: grpc.Channel, service: str = "") -> int:
    """What gRPC's health service says."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both processes, and where they are."""

    processor: subprocess.Popen[bytes]
    directory: Path
    address: str
    admin_url: str
    base_url: str

    def ask(self, **fields: Any) -> httpx.Response:
        """A chat completion, through Envoy and processor."""
        return httpx.post(f"{self.base_url}/chat/completions", json=HELLO | fields, timeout=20, trust_env=False)

    def admin(self, path: str) -> httpx.Response:
        """The processor's admin listener."""
        return httpx.get(self.admin_url + path, trust_env=False)

    def health(self, service: str = "") -> int:
        """What gRPC's health service says."""
        with grpc.insecure_channel(self.address) as channel:
            return health(channel, service)

    def save(self, fake: FakeProvider) -> None:
        """Save another configuration."""
        aside = self.directory / "aside"
        aside.write_text(config(fake, self.directory))
        aside.replace(self.directory / "kortex.yaml")


@pytest.fixture(scope="module")
def old() -> Iterator[FakeProvider]:
    """What is served at first."""
    with FakeProvider(name="old") as fake:
        yield fake


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, old: FakeProvider) -> Iterator[Pair]:
    """One pair for all tests that leave it as it is."""
    with _pair(tmp_path_factory.mktemp("pair"), old) as pair:
        yield pair


@contextlib.contextmanager
def _pair(tmp_path: Path, old: FakeProvider) -> Iterator[Pair]:
    """Processor and Envoy, as two containers would run them."""
    (tmp_path / "kortex.yaml").write_text(config(old, tmp_path))
    xds = tmp_path / "xds"
    serve = (*KORTEX, "serve", "--config", str(tmp_path / "kortex.yaml"), "--listen", FREE_PORT)
    with _running((*serve, "--xds-directory", str(xds)), tmp_path / "processor.log") as processor:
        said = until(
            lambda: re.search(r"serving Envoy at (\S+), admin at (\S+)", (tmp_path / "processor.log").read_text()),
            "the processor serves",
        )
        render = ("render", str(tmp_path / "kortex.yaml"), "--output", str(tmp_path / "rendered"))
        places = ("--worker", said[1], "--xds-directory", str(xds), "--admin", f"unix:{tmp_path}/admin.sock")
        subprocess.run([*KORTEX, *render, *places], cwd=ROOT, check=True)
        bootstrap = str(tmp_path / "rendered" / "bootstrap.json")
        envoy = (str(find_envoy(None)), "-c", bootstrap, "--disable-hot-restart", "--concurrency", "1", "-l", "error")
        with _running(envoy, tmp_path / "envoy.log"):
            gateway = until(lambda: _edge(tmp_path / "admin.sock"), "Envoy listens")
            yield Pair(processor, tmp_path, said[1], f"http://{said[2]}", f"http://{gateway}/v1")


@contextlib.contextmanager
def _running(command: tuple[str, ...], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def _edge(admin: Path) -> str | None:
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(admin)):
            return None
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(admin)), base_url="http://envoy") as client:
        found = re.search(r"^edge::(\S+)$", client.get("/listeners").text, re.MULTILINE)
    return found[1] if found else None


def test_processor_serves_an_envoy_that_runs_elsewhere(pair: Pair) -> None:
    """Requests, health, readiness and metrics of the one process."""
    assert pair.ask().headers["x-kortex-backend"] == "old"
    assert pair.ask(stream=True).text.endswith("data: [DONE]\n\n")
    assert pair.health() == health_pb2.HealthCheckResponse.SERVING
    assert pair.health("envoy.service.ext_proc.v3.ExternalProcessor") == health_pb2.HealthCheckResponse.SERVING
    assert pair.admin("/readyz").json()["conditions"] == {"config": True, "listening": True, "accepting": True}
    counted = 'kortex_attempts_total{backend="old",outcome="answered"} '
    until(lambda: counted in pair.admin("/metrics").text, "the attempts are counted")
    assert "kortex_workers_serving 1.0" in pair.admin("/metrics").text
    assert pair.admin("/metrics/envoy").status_code == 404


def test_the_one_process_keeps_the_ledger(pair: Pair) -> None:
    """Beside the requests, in a thread."""

    def requests() -> int:
        return sum(row["requests"] for row in pair.admin("/usage?by=backend").json()["usage"])

    before = requests()
    assert pair.ask().status_code == 200
    until(lambda: requests() > before, "the request is booked")
    assert "kortex_ledger_up 1.0" in pair.admin("/metrics").text


def test_envoy_follows_when_the_config_is_saved(pair: Pair, old: FakeProvider) -> None:
    """A backend that Envoy had never heard of answers, and no request fails on the way."""
    with FakeProvider(name="new") as new:
        seen: list[httpx.Response] = []

        def answers(backend: str) -> bool:
            seen.append(pair.ask())
            return seen[-1].headers["x-kortex-backend"] == backend

        pair.save(new)
        until(lambda: answers("new"), "the new backend answers")
        pair.save(old)
        until(lambda: answers("old"), "the old backend answers again")
        assert {reply.status_code for reply in seen} == {200}


def test_broken_config_changes_nothing(pair: Pair, old: FakeProvider) -> None:
    """What is wrong is shown."""
    (pair.directory / "kortex.yaml").write_text("backends: 1")
    until(lambda: pair.admin("/config").json()["lastError"], "the problem is shown")
    assert pair.ask().headers["x-kortex-backend"] == "old"
    pair.save(old)
    until(lambda: pair.admin("/config").json()["lastError"] is None, "the problem is over")


def test_running_stream_is_finished_when_asked_to_end(tmp_path: Path) -> None:
    """Health says that it serves no more, so that Envoy looks elsewhere; then it ends with 0."""
    with FakeProvider(name="slow") as slow, _pair(tmp_path, slow) as pair:
        slow.always = SlowEvents(0.1)
        url, body = f"{pair.base_url}/chat/completions", HELLO | {"stream": True}
        with httpx.stream("POST", url, json=body, timeout=30, trust_env=False) as stream:
            lines = stream.iter_lines()
            next(lines)
            pair.processor.terminate()
            until(lambda: pair.health() == health_pb2.HealthCheckResponse.NOT_SERVING, "it serves no more")
            assert pair.admin("/readyz").status_code == 503
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert pair.processor.wait(20) == 0


def test_processor_says_why_it_cannot_listen(pair: Pair) -> None:
    """Another one is there already."""
    serve = [*KORTEX, "serve", "--config", str(pair.directory / "kortex.yaml"), "--listen", pair.address]
    done = subprocess.run(serve, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"kortex: {pair.address} is in use: another program listens there"


def test_processor_listens_on_a_unix_socket(tmp_path: Path, old: FakeProvider) -> None:
    """For a sidecar that shares a directory with its Envoy; also where an earlier one has left its socket."""
    (tmp_path / "kortex.yaml").write_text(config(old, tmp_path))
    address = f"unix:{tmp_path}/kortex.sock"
    serve = (*KORTEX, "serve", "--config", str(tmp_path / "kortex.yaml"), "--listen", address)
    for _ in range(2):
        with _running(serve, tmp_path / "log"):
            until(lambda: f"serving Envoy at {address}" in (tmp_path / "log").read_text(), "it serves")
            with grpc.insecure_channel(address) as channel:
                assert health(channel) == health_pb2.HealthCheckResponse.SERVING
        assert (tmp_path / "kortex.sock").exists()
