"""``kortex selftest`` as a command: real gateway, real Envoy, fakes in place of every configured provider."""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from extproc.selftest.asking import CHAT, COMPLETIONS
from extproc.selftest.fault import WALL

pytestmark = pytest.mark.timeout(300)

SECRET = "sk-of-the-operator-1234567890"
CONFIG = """
gateway: {{listen: "127.0.0.1:1", admin: "127.0.0.1:2", timeouts: {{firstToken: 20s}}}}
backends:
  primary: {{provider: openai, url: "{trap}/v1", model: gpt-4o, apiKey: {{env: SELFTEST_SECRET}}}}
  claude: {{provider: anthropic, url: "{trap}", model: claude-sonnet-4-5, apiKey: {{env: NOT_SET_ANYWHERE}}}}
  local: {{provider: vllm, url: "{trap}", maxConcurrency: 1, healthCheck: {{interval: 100ms}}}}
  llama:
    provider: bedrock
    url: "{trap}"
    region: us-east-1
    model: "meta.llama3-8b-instruct-v1:0"
    capabilities: {{tools: false}}
  gemini: {{provider: vertex, url: "{trap}", project: p, model: gemini-2.5-flash, credentialsFile: /nowhere.json}}
  inside: {{provider: demo}}
routes:
  good:
    models: [gpt-4, "gpt-4-*"]
    defaultBackend: {{name: primary}}
    fallback: {{backends: [claude]}}
  alone: {{models: [alone], defaultBackend: {{name: local}}}}
  toolless: {{models: [toolless], defaultBackend: {{name: gemini}}, fallback: {{backends: [llama]}}}}
  demo: {{models: [demo], defaultBackend: {{name: inside}}}}
  split:
    models: [split]
    rules: [{{backends: [{{name: primary, weight: 50}}, {{name: local, weight: 50}}]}}]
    defaultBackend: {{name: claude}}
    fallback: {{backends: [claude]}}
  hasty:
    models: [hasty]
    defaultBackend: {{name: claude}}
    fallback: {{backends: [inside]}}
    timeouts: {{firstToken: 60s, unstreamed: 20s, total: 30s}}
  ruled:
    models: [ruled]
    rules:
      - {{name: beta, match: {{headers: {{x-channel: {{prefix: beta}}}}}}, backends: [{{name: claude}}]}}
      - name: gold
        match: {{caller: {{tier: gold}}, uses: [tools]}}
        strategy: priority
        backends: [{{name: local}}, {{name: gemini}}]
      - {{name: never, match: {{headers: {{x-n: {{regex: "^[0-9]+$"}}}}}}, backends: [{{name: claude}}]}}
      - {{name: no, match: {{user: mallory}}, refuse: {{message: No.}}}}
    defaultBackend: {{name: primary}}
    fallback: {{backends: [claude]}}
"""


class Trap:
    """Stands where the configured providers are, and notes who comes."""

    def __init__(self) -> None:
        self.visitors = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            try:
                visitor, _ = self._listening.accept()
            except OSError:
                return
            self.visitors += 1
            visitor.close()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One self-test that has ended."""

    code: int
    stdout: str
    stderr: str
    visitors: int

    @property
    def result(self) -> Any:
        assert self.stdout.endswith("}\n"), (self.code, self.stderr)
        return json.loads(self.stdout)

    def rows(self, **wanted: object) -> list[dict[str, Any]]:
        """Those that have these values."""
        return [row for row in self.result["rows"] if all(row[name] == value for name, value in wanted.items())]

    def row(self, **wanted: object) -> dict[str, Any]:
        (found,) = self.rows(**wanted)
        return found


def selftest(folder: Path, config: str, *arguments: str, env: Mapping[str, str] | None = None) -> Ran:
    """Run the command to its end."""
    trap = Trap()
    file = folder / "kortex.yaml"
    file.write_text(config.format(trap=trap.url), encoding="utf-8")
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "extproc.cli.main", "selftest", "--config", str(file), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
            env={**os.environ, "SELFTEST_SECRET": SECRET, "COLUMNS": "220", **(env or {})},
        )
        return Ran(code=ended.returncode, stdout=ended.stdout, stderr=ended.stderr, visitors=trap.visitors)
    finally:
        trap.close()


@pytest.fixture(scope="module", name="ran")
def _ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Every route, for machines. Proxies in the environment would be a way out."""
    elsewhere = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    return selftest(tmp_path_factory.mktemp("selftest"), CONFIG, "--json", env=elsewhere)


def test_good_route_passes_and_is_shown_row_by_row(tmp_path: Path) -> None:
    """Exit code 0, and a table of what clients would have seen."""
    ran = selftest(tmp_path, CONFIG, "--route", "good")
    assert ran.code == 0, ran.stdout + ran.stderr
    assert "route good" in ran.stdout
    assert "route alone" not in ran.stdout
    for fault in (*(fault.name for fault in WALL), "healthy", "every backend down", "connection refused", "flapping"):
        assert fault in ran.stdout
    for model in ("gpt-4", "gpt-4-selftest"):
        assert model in ran.stdout
    assert "timeouts 1/10: firstToken 20s was 2s" in ran.stdout
    assert "0 surprises" in ran.stdout
    assert ran.visitors == 0


def test_no_configured_provider_is_called_and_no_secret_shown(ran: Ran) -> None:
    """Also no health check goes there, and no credential is needed."""
    assert ran.visitors == 0
    assert ran.rows(route="alone", asked=["local"])
    assert SECRET not in ran.stdout + ran.stderr
    assert "selftest-" not in ran.stdout + ran.stderr


def test_only_defects_are_surprises(ran: Ran) -> None:
    """A total that ends before silence is left, for streams only; a fallback that cannot call tools."""
    assert ran.code == 1, ran.stdout + ran.stderr
    surprises = {(row["route"], row["fault"], row["stream"]) for row in ran.rows(verdict="surprise")}
    assert surprises == {
        ("hasty", "silence", True),
        ("hasty", "headers, then silence", True),
        ("toolless", "down, tools", False),
        ("toolless", "down, forced_tool", False),
    }, ran.rows(verdict="surprise")
    assert "timeouts.total ends the request (30 s)" in ran.row(route="hasty", fault="silence", stream=True)["note"]
    lost = ran.row(route="toolless", fault="down, tools")
    assert "while gemini is down nobody else takes tools" in lost["note"]
    assert not ran.result["ok"]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", WALL, ids=lambda fault: fault.name)
def test_every_backend_meets_every_fault(ran: Ran, fault: Any, stream: bool) -> None:
    """The first one's and the fallback's, each in its own dialect, AWS's binary one included."""
    for route, model, backend in (
        ("good", "gpt-4", "primary"),
        ("good", "gpt-4", "claude"),
        ("toolless", "toolless", "gemini"),
        ("toolless", "toolless", "llama"),
    ):
        row = ran.row(route=route, model=model, on=backend, fault=fault.name, stream=stream, operation=CHAT)
        assert row["verdict"] == "ok", row


def test_a_split_is_driven_whichever_way_it_falls(ran: Ran) -> None:
    """Every backend of the rule and the fallback is asked; none is missing from the notes in silence."""
    down = ran.row(route="split", fault="every backend down", stream=False, operation=CHAT)
    assert set(down["asked"]) == {"primary", "local", "claude"}
    assert {row["on"] for row in ran.rows(route="split")} == {"primary", "local", "claude", None}
    assert not [note for note in ran.result["notes"] if "does not reach" in note]


def test_rows_say_what_the_client_saw(ran: Ran) -> None:
    """Status, who answered, who was asked, and how it ended."""
    moved = ran.row(route="good", model="gpt-4", on="primary", fault="503", stream=False, operation=CHAT)
    assert (moved["ending"], moved["status"], moved["backend"]) == ("answer", 200, "claude")
    assert moved["asked"] == ["primary", "primary", "claude"]
    assert moved["trail"] == ["primary=overloaded"]
    assert moved["attempts"] == 2
    broken = ran.row(route="good", model="gpt-4", on="claude", fault="cut in the middle", stream=True)
    assert (broken["ending"], broken["status"], broken["code"]) == ("error event", 200, "stream_truncated")
    refused = ran.row(route="good", on="primary", fault="connection refused", stream=True, operation=CHAT)
    assert (refused["asked"], refused["trail"]) == (["claude"], ["primary=connect_failure"])
    silent = ran.row(route="alone", fault="silence", stream=True, operation=CHAT)
    assert (silent["ending"], silent["status"], silent["verdict"]) == ("error", 504, "ok")
    assert "no further backend" in silent["note"]


def test_a_model_inside_the_gateway_needs_no_fake(ran: Ran) -> None:
    """It is called for real, has no faults, and answers when all others are down."""
    assert {row["fault"] for row in ran.rows(route="demo")} == {"every backend down", "healthy"}
    assert ran.row(route="hasty", fault="every backend down", stream=False, operation=CHAT)["backend"] == "inside"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_completions_meet_the_wall_where_a_backend_takes_them(ran: Ran, stream: bool) -> None:
    """Without a fallback that has them, the client is told."""
    rows = ran.rows(route="good", operation=COMPLETIONS, stream=stream)
    assert {row["on"] for row in rows} == {"primary", None}
    assert {fault.name for fault in WALL} <= {row["fault"] for row in rows}
    moved = ran.row(route="alone", operation=COMPLETIONS, fault="503", stream=stream)
    assert (moved["ending"], moved["note"]) == ("error", "no further backend: the client gets the error")
    assert not ran.rows(route="toolless", operation=COMPLETIONS)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_rules_are_driven_by_calls_that_they_take(ran: Ran, stream: bool) -> None:
    """A header, a caller with a tier: backends that only the rule leads to meet every fault."""
    beta = ran.row(route="ruled", rule="beta", fault="every backend down", stream=stream)
    assert set(beta["asked"]) == {"claude"}
    gold = ran.rows(route="ruled", rule="gold", on="gemini", stream=stream)
    assert {fault.name for fault in WALL} <= {row["fault"] for row in gold}


def test_what_is_not_driven_is_told_with_the_reason(ran: Ran) -> None:
    """Rules that no call is known for."""
    assert [note for note in ran.result["notes"] if "not driven" in note] == [
        "routes.ruled.rules[2] was not driven: no call is known of which header x-n has a match of ^[0-9]+$",
        "routes.ruled.rules[3] was not driven: it refuses: no provider is asked",
    ]


def test_flapping_backend_opens_its_circuit_and_is_found_again(ran: Ran) -> None:
    """On, off and on again, with the operator's own numbers."""
    row = ran.row(route="good", fault="flapping")
    assert row["on"] == "primary"
    assert row["note"].startswith("open after ")
    assert "s after recovery" in row["note"]


def test_what_cannot_be_run_is_told(tmp_path: Path) -> None:
    """A route that is not there, a config that is none."""
    unknown = selftest(tmp_path, CONFIG, "--route", "nowhere")
    assert unknown.code == 1
    assert "has no route 'nowhere': its routes are good, alone, toolless, demo, split, hasty, ruled" in unknown.stderr
    broken = selftest(tmp_path, "routes: 7", "--json")
    assert broken.code == 1
    assert "kortex.yaml:1" in broken.stderr
    assert broken.stdout == ""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A TMPDIR that leaves room for the names of sockets, as that of pytest does not on every machine."""
    with tempfile.TemporaryDirectory(prefix="selftest-") as path:
        yield Path(path)


def test_it_does_not_take_for_ever(short_path: Path) -> None:
    """Given too little time it says so, and leaves no process and no file behind."""
    ran = selftest(short_path, CONFIG, "--within", "3", env={"TMPDIR": str(short_path)})
    assert ran.code == 1
    assert "was not through after 3 s" in ran.stderr
    assert [path.name for path in short_path.iterdir()] == ["kortex.yaml"]
    assert [command for command in commands() if str(short_path).encode() in command] == []


def test_a_signal_ends_it_in_order(short_path: Path) -> None:
    """As of a CI job that is cancelled: with the signal's exit code, and nothing left behind."""
    file = short_path / "kortex.yaml"
    file.write_text(CONFIG.format(trap="http://127.0.0.1:9"), encoding="utf-8")
    command = [sys.executable, "-m", "extproc.cli.main", "selftest", "--config", str(file)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(short_path)}
    ) as running:
        while not list(short_path.glob("kortex-*/envoy.json")):
            assert running.poll() is None
            time.sleep(0.05)
        running.terminate()
        stdout, _ = running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGTERM
    assert stdout == b""
    assert [path.name for path in short_path.iterdir()] == ["kortex.yaml"]
    assert [command for command in commands() if str(short_path).encode() in command] == []


def test_a_signal_ends_it_while_nobody_reads_what_it_prints(short_path: Path) -> None:
    """As of a CI job whose log is not taken any more."""
    file = short_path / "kortex.yaml"
    routes = "".join(f"  route-{n}: {{models: [model-{n}], defaultBackend: {{name: inside}}}}\n" for n in range(30))
    file.write_text(f"backends: {{inside: {{provider: demo}}}}\nroutes:\n{routes}", encoding="utf-8")
    command = [sys.executable, "-m", "extproc.cli.main", "selftest", str(file)]
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, mmap.PAGESIZE)
    with subprocess.Popen(command, stdout=writing, env={**os.environ, "TMPDIR": str(short_path)}) as running:
        os.close(writing)
        while not select.select([reading], [], [], 0)[0]:
            assert running.poll() is None
            time.sleep(0.05)
        running.terminate()
        try:
            assert running.wait(timeout=20) == -signal.SIGTERM
        finally:
            running.kill()
            os.close(reading)


def test_a_slow_reader_gets_everything(short_path: Path) -> None:
    """Also of a pipe that is full at the moment when the kernel takes apart what the event loop had."""
    file = short_path / "kortex.yaml"
    routes = "".join(f"  route-{n}: {{models: [model-{n}], defaultBackend: {{name: inside}}}}\n" for n in range(3))
    file.write_text(f"backends: {{inside: {{provider: demo}}}}\nroutes:\n{routes}", encoding="utf-8")
    command = [sys.executable, "-m", "extproc.cli.main", "selftest", "--json", str(file)]
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, mmap.PAGESIZE)
    environment = {**os.environ, "TMPDIR": str(short_path), "PYTHONUNBUFFERED": "1"}
    with os.fdopen(reading, "rb") as output, subprocess.Popen(command, stdout=writing, env=environment) as running:
        os.close(writing)
        first = output.read(1)
        time.sleep(1)
        assert json.loads(first + output.read())["ok"]
        assert running.wait(timeout=20) == 0


def commands() -> Iterator[bytes]:
    """Of every process that runs now."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            yield file.read_bytes()
