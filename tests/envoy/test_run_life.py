"""The life of ``kortex run`` on the real Envoy: start, failure to start, deaths, drain, end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from extproc.admission.keyring import hash_secret, spell_hash
from tests.envoy.kortex_process import ROOT, KortexProcess
from tests.fakes import FakeProvider, SlowEvents

HELLO = {"model": "kortex-demo", "messages": [{"role": "user", "content": "Hello"}]}


def config(fake: FakeProvider, **gateway: Any) -> dict[str, Any]:
    """Everything goes to the fake."""
    return {
        "gateway": gateway,
        "backends": {"fake": {"provider": "custom", "url": fake.url}},
        "routes": {"all": {"models": ["*"], "defaultBackend": {"name": "fake"}}},
    }


def ask(kortex: KortexProcess, **fields: Any) -> httpx.Response:
    """A chat completion."""
    return httpx.post(f"{kortex.base_url}/chat/completions", json=HELLO | fields, timeout=20, trust_env=False)


def said_at(kortex: KortexProcess, words: str) -> list[str]:
    """At which levels a line with these words was logged."""
    return [line.split()[2] for line in kortex.stderr.splitlines() if words in line]


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.is_file() and status.read_text().rpartition(")")[2].split()[0] == "Z"


class Streaming:
    """A client in a thread of its own, reading a stream to its end."""

    def __init__(self, kortex: KortexProcess) -> None:
        self.lines: list[str] = []
        self.begun = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(f"{kortex.base_url}/chat/completions",))
        self._thread.start()

    def _read(self, url: str) -> None:
        body = HELLO | {"model": "m", "stream": True}
        with httpx.stream("POST", url, json=body, timeout=30, trust_env=False) as reply:
            for line in reply.iter_lines():
                self.lines.append(line)
                self.begun.set()

    def join(self) -> list[str]:
        """What was read until the end."""
        self._thread.join(30)
        assert not self._thread.is_alive()
        return [line for line in self.lines if line]


@pytest.fixture
def slow() -> Iterator[FakeProvider]:
    """A provider whose streams take a while."""
    with FakeProvider(name="slow") as fake:
        fake.always = SlowEvents(0.1)
        yield fake


def test_gateway_answers_when_nothing_is_configured() -> None:
    """The first minute: the line of the banner works as it is, pasted into a shell; so does a stream."""
    with KortexProcess() as kortex:
        (line,) = (line for line in kortex.stdout.splitlines() if line.startswith("curl "))
        pasted = subprocess.run(["sh", "-c", f"{line} --silent --fail"], capture_output=True, text=True, check=True)
        assert "Hello" in json.loads(pasted.stdout)["choices"][0]["message"]["content"]
        assert "built in" in kortex.stdout
        assert "no provider yet: set OPENAI_API_KEY" in kortex.stdout
        stream = ask(kortex, stream=True)
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.text.endswith("data: [DONE]\n\n")
        models = httpx.get(f"{kortex.base_url}/models", trust_env=False).json()
        assert [model["id"] for model in models["data"]] == ["kortex-demo"]
        directory = kortex.run_directory
        assert directory.is_dir()
        kortex.terminate()
        assert kortex.wait() == 0
        assert not directory.exists()


def test_counters_are_kept_in_the_directory_where_the_gateway_runs(slow: FakeProvider) -> None:
    """Each run of the tests has its own, and leaves none among the sources."""
    budget = {"name": "day", "match": {"route": "all"}, "tokens": 1_000_000, "window": "day"}
    with KortexProcess(config(slow) | {"budgets": [budget]}) as kortex:
        assert kortex.ready()
        assert (kortex.config_path.parent / "kortex-quota.db").is_file()
    assert not (ROOT / "kortex-quota.db").exists()


def test_gateway_finds_its_providers_in_the_environment() -> None:
    """A key and an address are all it takes; the banner says which variable each backend comes from."""
    with FakeProvider(api_key="sk-of-a-test", models=["gpt-x"]) as openai, FakeProvider(models=["llama"]) as ollama:
        env = {"OPENAI_API_KEY": "sk-of-a-test", "OPENAI_BASE_URL": openai.url, "OLLAMA_HOST": f"0.0.0.0:{ollama.port}"}
        with KortexProcess(env=env) as kortex:
            listed = httpx.get(f"{kortex.base_url}/models", trust_env=False).json()["data"]
            assert {model["id"]: model["owned_by"] for model in listed} == {
                "gpt-x": "openai",
                "llama": "ollama",
                "kortex-demo": "demo",
            }
            openai.clear()
            for asked, backend in (("gpt-x", "openai"), ("openai/gpt-x", "openai"), ("ollama/llama", "ollama")):
                reply = ask(kortex, model=asked)
                assert (reply.status_code, reply.headers["x-kortex-backend"]) == (200, backend)
            assert [request.json["model"] for request in openai.requests] == ["gpt-x", "gpt-x"]
            assert "OLLAMA_HOST" in kortex.stdout
            assert "sk-of-a-test" not in kortex.stdout + kortex.stderr + json.dumps(kortex.described())


def test_worker_comes_back_though_the_files_beside_its_config_are_broken(tmp_path: Path) -> None:
    """On what the config in force was read with; its siblings would serve by that, too."""
    keys, provider_key, header = (tmp_path / name for name in ("keys.jsonl", "provider-key", "trace-header"))
    digest = spell_hash(hash_secret("sk-of-a-client"))
    keys.write_text(f'{{"name": "client", "hash": "{digest}"}}\n')
    provider_key.write_text("sk-of-the-provider\n")
    header.write_text("sk-of-the-collector")
    with FakeProvider(api_key="sk-of-the-provider") as fake:
        settings = config(fake, tracing={"otlpEndpoint": fake.url, "headers": {"x-token": {"file": str(header)}}})
        settings["keysFile"] = str(keys)
        settings["backends"]["fake"]["apiKey"] = {"file": str(provider_key)}
        with KortexProcess(settings) as kortex:

            def status(key: str) -> int:
                headers = {"authorization": f"Bearer {key}"}
                url = f"{kortex.base_url}/chat/completions"
                return httpx.post(url, json=HELLO, headers=headers, timeout=20, trust_env=False).status_code

            kortex.reload(settings | {"backends": settings["backends"] | {"other": {"provider": "demo"}}})
            assert status("sk-of-a-client") == 200
            refused = kortex.described()["reloads"]["rejected"]
            keys.write_text("{broken\n")
            provider_key.unlink()
            header.write_text("")
            kortex.until(lambda: kortex.described()["reloads"]["rejected"] > refused, "the broken files are refused")
            (before,) = kortex.worker_pids
            os.kill(before, signal.SIGKILL)
            kortex.until(lambda: before not in kortex.worker_pids and kortex.ready(), "the worker is back")
            kortex.until(lambda: status("sk-of-a-client") == 200, "the client's key opens")
            assert status("sk-of-nobody") == 401
            shown = (
                kortex.stdout
                + kortex.stderr
                + json.dumps(kortex.described())
                + str(list(map(command_line, kortex.worker_pids)))
            )
    assert "sk-of" not in shown
    assert digest not in shown


def command_line(pid: int) -> str:
    """Of a process."""
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("key", ["listen", "admin"])
def test_start_fails_when_an_address_is_taken(key: str) -> None:
    """Envoy would share the port with whoever has it, as long as they let it."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with KortexProcess(env={f"KORTEX_{key.upper()}": address}, expect_failure=True) as kortex:
            assert kortex.returncode == 1
            told = f"{address} is in use: another program listens there; KORTEX_{key.upper()} sets the address"
            assert kortex.stderr == f"kortex: {told}\n"


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        pytest.param(None, 0, "there is no Envoy binary at {envoy}", id="missing"),
        pytest.param("#!/bin/sh\n", 0o600, "cannot run {envoy}: Permission denied", id="no program"),
        pytest.param("#!/bin/sh\necho hello\n", 0o700, "{envoy} is no Envoy: it does not say its version", id="other"),
        pytest.param(
            "#!/bin/sh\ncase $1 in --version) echo 'envoy  version: 0a/1.40.0/Clean' ;; *) exit 3 ;; esac\n",
            0o700,
            "Envoy cannot start: it ended",
            id="dies",
        ),
    ],
)
def test_start_fails_when_envoy_is_no_envoy(tmp_path: Path, content: str | None, mode: int, reason: str) -> None:
    """One sentence, and exit code 1."""
    envoy = tmp_path / "envoy"
    if content is not None:
        envoy.write_text(content)
        envoy.chmod(mode)
    with KortexProcess(arguments=["--envoy", str(envoy)], expect_failure=True) as kortex:
        assert kortex.returncode == 1
        said = kortex.stderr.splitlines()[-1]
        assert said.startswith(f"kortex: {reason.format(envoy=envoy)}")
        assert "Traceback" not in kortex.stderr


def test_start_fails_when_the_config_is_broken() -> None:
    """With every problem, as ``kortex check`` tells them."""
    with KortexProcess(b"backends: {a: {provider: opnai}}\nextra: 1\n", expect_failure=True) as kortex:
        assert kortex.returncode == 1
        assert f"{kortex.config_path}:1: backends.a" in kortex.stderr
        assert f'{kortex.config_path}:2: unknown key "extra"' in kortex.stderr
        assert kortex.stderr.endswith("cannot be used: 3 problems\n")


def test_start_fails_when_there_is_no_config_where_it_should_be(tmp_path: Path) -> None:
    """Falling back on the environment would serve something else than what was meant."""
    with KortexProcess(config_path=tmp_path / "missing.yaml", expect_failure=True) as kortex:
        assert kortex.returncode == 1
        assert kortex.stderr == f"kortex: {tmp_path / 'missing.yaml'} cannot be read: No such file or directory\n"


def test_running_stream_is_finished_when_asked_to_end(slow: FakeProvider) -> None:
    """While it drains it is not ready and takes no new connection; at the end nothing is left."""
    with KortexProcess(config(slow), workers=2) as kortex:
        processes = [*kortex.worker_pids, kortex.envoy_pid]
        assert len(processes) == 3
        stream = Streaming(kortex)
        assert stream.begun.wait(20)
        kortex.terminate()
        kortex.until(lambda: not kortex.ready(), "it is not ready any more")
        assert stream.join()[-1] == "data: [DONE]"
        assert kortex.wait() == 0
        assert all(is_gone(pid) for pid in processes)
        assert "Traceback" not in kortex.stderr
        assert said_at(kortex, "envoy: caught ENVOY_SIGTERM") == ["INFO"]


def test_running_stream_is_cut_when_the_grace_period_is_over(slow: FakeProvider) -> None:
    """A client that reads for ever does not keep the gateway from ending."""
    slow.always = SlowEvents(30.0)
    with KortexProcess(config(slow, drain="200ms")) as kortex:
        body = HELLO | {"stream": True}
        with httpx.stream("POST", f"{kortex.base_url}/chat/completions", json=body, trust_env=False, timeout=30):
            kortex.terminate()
            assert kortex.wait() == 0


def test_everything_ends_at_once_when_asked_twice(slow: FakeProvider) -> None:
    """By an impatient Ctrl-C: with the exit code of a process that a signal ended."""
    number = signal.SIGINT
    slow.always = SlowEvents(30.0)
    with KortexProcess(config(slow)) as kortex:
        body = HELLO | {"stream": True}
        with httpx.stream("POST", f"{kortex.base_url}/chat/completions", json=body, trust_env=False, timeout=30):
            os.kill(kortex.pid, number)
            kortex.until(lambda: "draining" in kortex.stderr, "it drains")
            os.kill(kortex.pid, number)
            assert kortex.wait() == 128 + number


def test_worker_is_started_again_when_it_is_killed() -> None:
    """With the config of the moment; the other one serves meanwhile."""
    with FakeProvider() as fake, KortexProcess(config(fake), workers=2) as kortex:
        kortex.reload(config(fake, drain="10s"))
        before = kortex.worker_pids
        os.kill(before[0], signal.SIGKILL)
        kortex.until(lambda: kortex.metrics()["kortex_worker_restarts_total"] == 1, "it is started again")
        kortex.until(lambda: kortex.metrics()["kortex_workers_serving"] == 2, "it serves again")
        assert len(set(kortex.worker_pids) - set(before)) == 1
        assert kortex.ready()
        for _ in range(10):
            assert ask(kortex).status_code == 200


def test_gateway_answers_again_when_its_only_worker_was_killed() -> None:
    """Not ready in between."""
    with KortexProcess() as kortex:
        assert ask(kortex).status_code == 200
        os.kill(kortex.worker_pids[0], signal.SIGKILL)
        kortex.until(lambda: kortex.metrics()["kortex_worker_restarts_total"] == 1, "it is started again")
        kortex.until(kortex.ready, "it is ready")
        kortex.until(lambda: ask(kortex).status_code == 200, "it answers again")


def test_gateway_ends_when_envoy_dies() -> None:
    """An orchestrator starts all of it again; half a gateway is of no use."""
    with KortexProcess() as kortex:
        worker = kortex.worker_pids[0]
        os.kill(kortex.envoy_pid, signal.SIGKILL)
        assert kortex.wait() == 1
        assert "Envoy ended by itself with code -9" in kortex.stderr
        assert is_gone(worker)


def test_a_signal_to_envoy_that_is_not_the_gateways_own_is_warned_of() -> None:
    """Somebody should learn what ended it."""
    with KortexProcess() as kortex:
        os.kill(kortex.envoy_pid, signal.SIGTERM)
        assert kortex.wait() == 1
        assert said_at(kortex, "envoy: caught ENVOY_SIGTERM") == ["WARNING"]


def test_nothing_is_left_when_the_command_itself_is_killed() -> None:
    """An Envoy on the port would keep the next start from succeeding."""
    with KortexProcess() as kortex:
        processes = [*kortex.worker_pids, kortex.envoy_pid]
        os.kill(kortex.pid, signal.SIGKILL)
        kortex.wait()
        kortex.until(lambda: all(is_gone(pid) for pid in processes), "its processes are gone")
