"""What is measured: a provider, Envoy alone and Kortex in front of it, each as processes of its own on free ports."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final

import httpx

from extproc.bootstrap.process import find_envoy
from tests.bench import wire
from tests.envoy.kortex_process import ROOT, KortexProcess

DIRECT: Final = "provider, directly"
ENVOY: Final = "Envoy alone"
PASS_THROUGH: Final = "Kortex, same model name"
REWRITE: Final = "Kortex, model renamed"

_START_SECONDS: Final = 20.0
_CONFIG: Final = """
backends:
  same: {{provider: openai, url: "{origin}", apiKey: {{env: BENCH_KEY}}}}
  renamed: {{provider: openai, url: "{origin}", apiKey: {{env: BENCH_KEY}}, model: {upstream}}}
routes:
  same: {{models: [{upstream}], defaultBackend: {{name: same}}}}
  renamed: {{models: [{client}], defaultBackend: {{name: renamed}}}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One way to the provider. ``workers``: of Kortex, and threads of its Envoy or of Envoy alone; 0 without any."""

    name: str
    workers: int
    origin: str
    model: str = wire.UPSTREAM_MODEL
    envoy_pid: int | None = None
    worker_pids: tuple[int, ...] = ()

    @property
    def authority(self) -> str:
        """``host:port``, as the Host header has it."""
        return self.origin.removeprefix("http://")


@contextlib.contextmanager
def open_paths(workers: tuple[int, ...]) -> Iterator[list[Path]]:
    """All paths, started; for Envoy alone and for Kortex once per number of workers. Raises RuntimeError."""
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(open_provider())
        paths = [Path(name=DIRECT, workers=0, origin=provider)]
        for count in workers:
            paths.append(stack.enter_context(_envoy_alone(provider, count)))
            config = _CONFIG.format(origin=provider, upstream=wire.UPSTREAM_MODEL, client=wire.CLIENT_MODEL)
            kortex = stack.enter_context(KortexProcess(config, env={"BENCH_KEY": "sk-bench"}, workers=count))
            for name, model in ((PASS_THROUGH, wire.UPSTREAM_MODEL), (REWRITE, wire.CLIENT_MODEL)):
                paths.append(
                    Path(
                        name=name,
                        workers=count,
                        origin=kortex.origin,
                        model=model,
                        envoy_pid=kortex.envoy_pid,
                        worker_pids=tuple(kortex.worker_pids),
                    )
                )
        yield paths


@contextlib.contextmanager
def open_provider() -> Iterator[str]:
    """The provider's origin."""
    command = [sys.executable, "-m", "tests.bench.provider"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("the provider has no output")
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        # Its end is the end of its standard input, which leaving this block closes.


@contextlib.contextmanager
def _envoy_alone(provider: str, threads: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kortex-bench-") as folder:
        directory = FilePath(folder)
        admin, bootstrap, log = directory / "admin.sock", directory / "envoy.json", directory / "log"
        bootstrap.write_text(json.dumps(_plain_bootstrap(provider, admin)), "utf-8")
        options = ("-c", str(bootstrap), "--disable-hot-restart", "--concurrency", str(threads), "--log-path", str(log))
        process = subprocess.Popen([str(find_envoy(None)), *options], stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            origin = _listening(process, admin, log)
            yield Path(name=ENVOY, workers=threads, origin=origin, envoy_pid=process.pid)
        finally:
            process.kill()
            process.wait()


def _listening(process: subprocess.Popen[bytes], admin: FilePath, log: FilePath) -> str:
    """The listener's origin, once it takes calls. Raises RuntimeError with Envoy's log."""
    deadline = time.monotonic() + _START_SECONDS
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(admin)), base_url="http://envoy") as client:
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if client.get("/ready").status_code == 200:
                    return f"http://{client.get('/listeners').text.strip().removeprefix('plain::')}"
            time.sleep(0.02)
    raise RuntimeError(f"Envoy does not start: {log.read_text('utf-8', 'replace')}")


def _plain_bootstrap(provider: str, admin: FilePath) -> dict[str, Any]:
    """A listener, a route, a cluster: the least that Envoy needs to pass calls on."""
    types = "type.googleapis.com/envoy.extensions.filters"
    host, _, port = provider.removeprefix("http://").partition(":")
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "plain",
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "plain",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "provider", "timeout": "0s"}}],
                }
            ]
        },
    }
    manager_filter = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    endpoint = {"address": {"socket_address": {"address": host, "port_value": int(port)}}}
    return {
        "admin": {"address": {"pipe": {"path": str(admin)}}},
        "static_resources": {
            "listeners": [
                {
                    "name": "plain",
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                    "filter_chains": [{"filters": [manager_filter]}],
                    # As in Kortex: one socket for all threads, which share its connections evenly.
                    "enable_reuse_port": False,
                    "connection_balance_config": {"exact_balance": {}},
                }
            ],
            "clusters": [
                {
                    "name": "provider",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "provider",
                        "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
                    },
                }
            ],
        },
    }
