"""Google's tokens in a running gateway: there before the first request, renewed in time, missed without harm."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from extproc.server.standalone import Standalone
from tests.envoy.kortex_process import KortexProcess
from tests.fakes import FakeProvider, Silence, Status
from tests.fakes.gemini_provider import FakeVertex
from tests.fakes.google_tokens import FakeGoogleTokens

CONFIG = """
# Each test wants its providers asked, whatever the one before did to them.
gateway: {{circuitBreaker: {{enabled: false}}}}
backends:
  vertex:
    {{provider: vertex, url: "{vertex}", project: fake-project, model: gemini-2.5-flash, {file}}}
  other: {{provider: custom, url: "{other}"}}
routes:
  alone: {{models: [alone], defaultBackend: {{name: vertex}}, retries: &quick {{backoff: 20ms, perBackend: 0}}}}
  pair: {{models: [pair], defaultBackend: {{name: vertex}}, fallback: {{backends: [other]}}, retries: *quick}}
"""
PLAIN = """
backends: {{other: {{provider: custom, url: "{other}"}}}}
routes: {{alone: {{models: [alone], defaultBackend: {{name: other}}}}}}
"""
BODY = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def google() -> Iterator[FakeGoogleTokens]:
    """Who gives tokens."""
    with FakeGoogleTokens() as fake:
        yield fake


@pytest.fixture
def other() -> Iterator[FakeProvider]:
    """A backend that needs no token."""
    with FakeProvider(name="other") as fake:
        yield fake


def ask(gateway: KortexProcess, model: str = "alone") -> httpx.Response:
    """One request."""
    return httpx.post(f"{gateway.base_url}/chat/completions", json={"model": model, **BODY}, timeout=30)


def test_token_is_renewed_ahead_of_its_end(google: FakeGoogleTokens, other: FakeProvider, tmp_path: Path) -> None:
    """No request waits for it, and none is sent with one that has ended."""
    google.life = 5
    born: dict[str, float] = {}

    def good() -> set[str]:
        now = time.monotonic()
        for token in google.given:
            born.setdefault(token, now)
        return {token for token, since in born.items() if now - since < google.life + 0.5}

    file = f'credentialsFile: "{google.write_service_account(tmp_path / "key.json")}"'
    with FakeVertex(name="vertex", tokens=good) as vertex:
        config = CONFIG.format(vertex=vertex.base_url, other=other.url, file=file)
        with KortexProcess(config, workers=1) as gateway:
            used: set[str] = set()
            deadline = time.monotonic() + 30
            while len(used) < 3 and time.monotonic() < deadline:
                assert ask(gateway).status_code == 200
                used = {request.headers["authorization"] for request in vertex.requests}
                time.sleep(0.1)
    assert len(used) >= 3


def test_backend_fails_over_while_there_is_no_token(
    google: FakeGoogleTokens, other: FakeProvider, tmp_path: Path
) -> None:
    """It serves again by itself once there is one, and the operator is told why it did not."""
    google.always = Status(403, {"error": "access_denied", "error_description": "The account is suspended."})
    file = f'credentialsFile: "{google.write_service_account(tmp_path / "key.json")}"'
    with FakeVertex(name="vertex", tokens=lambda: google.given) as vertex:
        config = CONFIG.format(vertex=vertex.base_url, other=other.url, file=file)
        with KortexProcess(config, workers=1) as gateway:
            assert ask(gateway, "pair").json()["choices"][0]["message"]["content"] == "other says: hello"
            refused = ask(gateway)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "credential_unavailable")
            assert vertex.requests == []
            assert "key.json cannot be had: access_denied: The account is suspended." in gateway.stderr
            google.clear_faults()
            gateway.until(lambda: ask(gateway).status_code == 200, "the token has come")
    assert vertex.requests[0].headers["authorization"].startswith("Bearer ya29.fake-")


def test_no_worker_plans_with_a_backend_that_another_does_not_know_yet(
    google: FakeGoogleTokens, other: FakeProvider, tmp_path: Path
) -> None:
    """One waits for its token a second longer; what the first one plans may have its attempt at the second."""
    google.script = [None, Silence(1.5)]
    file = f'credentialsFile: "{google.write_service_account(tmp_path / "key.json")}"'
    replies: list[httpx.Response] = []
    stop = threading.Event()
    with (
        FakeVertex(name="vertex", tokens=lambda: google.given) as vertex,
        KortexProcess(PLAIN.format(other=other.url), workers=2) as gateway,
    ):

        def load() -> None:
            while not stop.is_set():
                replies.append(ask(gateway))

        clients = [threading.Thread(target=load) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            gateway.reload(CONFIG.format(vertex=vertex.base_url, other=other.url, file=file))
            gateway.until(lambda: replies[-1].headers.get("x-kortex-backend") == "vertex", "the new backend serves")
        finally:
            stop.set()
            for client in clients:
                client.join(30)
    assert [reply.text for reply in replies if reply.status_code != 200] == []


def test_first_request_waits_for_no_token_and_a_reload_asks_for_none(
    google: FakeGoogleTokens, other: FakeProvider, tmp_path: Path
) -> None:
    """From the metadata server, with nothing configured; a changed config keeps the token it has."""
    google.latency = 0.5
    with FakeVertex(name="vertex", tokens=lambda: google.given) as vertex:
        config = CONFIG.format(vertex=vertex.base_url, other=other.url, file="location: europe-west4")
        host = google.base_url.removeprefix("http://")
        environment = {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host, "HOME": str(tmp_path)}
        with KortexProcess(config, env=environment, workers=1) as gateway:
            assert ask(gateway).status_code == 200
            gateway.reload(config.replace("20ms", "30ms"))
            assert ask(gateway).status_code == 200
    assert google.given == ["ya29.fake-1"]
    assert vertex.requests[0].path.startswith("/v1beta1/projects/fake-project/locations/europe-west4/")


def test_environment_alone_makes_the_backend(google: FakeGoogleTokens, tmp_path: Path) -> None:
    """``kortex run`` without a file: project and location, and what the host offers."""
    environment = {
        "GOOGLE_CLOUD_PROJECT": "fake-project",
        "GOOGLE_CLOUD_LOCATION": "europe-west4",
        "GOOGLE_APPLICATION_CREDENTIALS": str(google.write_service_account(tmp_path / "key.json")),
    }
    with KortexProcess(None, env=environment, workers=1) as gateway:
        described = gateway.described()
    backend = described["config"]["backends"]["vertex"]
    assert (backend["project"], backend["location"]) == ("fake-project", "europe-west4")
    assert backend["url"] == "https://europe-west4-aiplatform.googleapis.com"
    assert len(google.given) == 1


def test_check_needs_no_network(other: FakeProvider, tmp_path: Path) -> None:
    """Neither for the token nor for anything else; nobody is there to give one."""
    file = tmp_path / "kortex.yaml"
    file.write_text(CONFIG.format(vertex="http://127.0.0.1:9", other=other.url, file="credentialsFile: /nowhere.json"))
    command = [sys.executable, "-m", "extproc.cli.main", "check", "--no-envoy", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stdout + done.stderr


async def test_processor_alone_has_its_token_before_it_listens(
    google: FakeGoogleTokens, other: FakeProvider, tmp_path: Path
) -> None:
    """``kortex serve``; a reload that drops the backend ends the renewal, once no request can need it any more."""
    file = f'credentialsFile: "{google.write_service_account(tmp_path / "key.json")}"'
    config = CONFIG.format(vertex="http://127.0.0.1:9", other=other.url, file=file)
    processor = Standalone(f"unix:{tmp_path / 's'}", config.encode())
    await processor.start()
    try:
        target = next(one for one in processor.snapshot.targets.values() if one.backend == "vertex")
        assert target.credential() == "ya29.fake-1"
        await processor.reload(config.replace("20ms", "30ms").encode())
        kept: Any = next(one for one in processor.snapshot.targets.values() if one.backend == "vertex")
        assert kept.credential() == "ya29.fake-1"
        assert google.given == ["ya29.fake-1"]
    finally:
        await processor.stop()
    await asyncio.sleep(0)
    with contextlib.suppress(asyncio.CancelledError):
        leftovers = [task for task in asyncio.all_tasks() if "_renew" in repr(task) and not task.cancelling()]
        assert leftovers == []
