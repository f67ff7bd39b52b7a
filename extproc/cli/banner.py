"""What ``kortex run`` says when it serves: where it listens, which models there are, and a line to try it with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

import extproc
from extproc.config.scalars import split_address
from extproc.exchange.snapshot import Snapshot
from extproc.openai.call import Operation
from extproc.providers.base import OPENAI_PATHS
from extproc.routing.route import CompiledRoute

_SHOWN_NAMES: Final = 8
_EVERY_INTERFACE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not listened on
_GREETING: Final = "Hello"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What is to be told. Addresses are ``host:port`` as they were really taken.

    ``sources`` says where each backend comes from; ``notes`` are sentences about what was not as expected.
    """

    snapshot: Snapshot
    config: str
    listen: str
    admin: str
    envoy_version: str
    workers: int
    sources: Mapping[str, str]
    notes: Sequence[str]


def print_banner(console: Console, served: Served) -> None:
    """The whole banner. Nothing in it is wrapped in the middle of what people paste."""
    gateway = f"{reachable(served.listen)}/v1"
    workers = f"{served.workers} worker{'' if served.workers == 1 else 's'}"
    title = Text.assemble(("Kortex", "bold"), f" {extproc.__version__}, Envoy {served.envoy_version}, {workers}")
    where = Table.grid(padding=(0, 2))
    everywhere = "" if gateway.startswith(f"http://{served.listen}/") else " (on every interface)"
    where.add_row("gateway", Text.assemble((gateway, "bold green"), everywhere))
    where.add_row("admin", f"{reachable(served.admin)} (/readyz /config /metrics)")
    where.add_row("config", served.config)
    console.print(title, highlight=False)
    console.print()
    console.print(Padding(where, (0, 0, 0, 2), expand=False), highlight=False)
    console.print()
    console.print(Padding(_models(served), (0, 0, 0, 2), expand=False), highlight=False)
    console.print()
    for note in served.notes:
        console.print(Text(f"  {note}", style="yellow"), soft_wrap=True, highlight=False)
    if served.notes:
        console.print()
    console.print("  Try it:\n", highlight=False)
    console.print(Text(curl_line(served.snapshot, gateway), style="bold"), soft_wrap=True, highlight=False)
    console.print()


def reachable(address: str) -> str:
    """The URL under which this machine reaches a listener, which may be on every interface."""
    host, port = split_address(address)
    host = _EVERY_INTERFACE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def curl_line(snapshot: Snapshot, base_url: str) -> str:
    """One line for a POSIX shell that gets an answer: from a model that needs no account where there is one."""
    found = _model_to_try(snapshot)
    key = ["-H", "authorization: Bearer YOUR_KEY"] if snapshot.config.asks_for_keys else []
    if found is None:
        return shlex.join(["curl", f"{base_url}/models", *key])
    model, operation = found
    body: dict[str, object] = {"model": model}
    match operation:
        case Operation.CHAT:
            body["messages"] = [{"role": "user", "content": _GREETING}]
        case Operation.TEXT_COMPLETION:
            body["prompt"] = _GREETING
        case Operation.EMBEDDINGS:
            body["input"] = _GREETING
    text = json.dumps(body, ensure_ascii=False)
    url, header = base_url + OPENAI_PATHS[operation], "content-type: application/json"
    return shlex.join(["curl", url, *key, "-H", header, "-d", text])


def _model_to_try(snapshot: Snapshot) -> tuple[str, Operation] | None:
    """A model with a name of its own: one that the gateway answers itself, else the first."""
    named = [
        (model, operation, route.targets[0].provider.answer is None)
        for model, route in snapshot.exact.items()
        for operation in Operation
        if route.offering(operation, model)
    ]
    best = min(named, key=lambda candidate: candidate[2], default=None)
    return None if best is None else best[:2]


def _models(served: Served) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("models", overflow="fold", ratio=2)
    table.add_column("backends, in order", overflow="fold")
    table.add_column("from", overflow="fold")
    for names, route in _routes(served.snapshot):
        shown = ", ".join(names[:_SHOWN_NAMES])
        more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        backends = [target.backend for target in route.targets]
        sources = dict.fromkeys(served.sources.get(backend, served.config) for backend in backends)
        table.add_row(Text(shown + more), Text(" → ".join(backends)), Text(", ".join(sources)))
    if not table.row_count:
        table.add_row(Text("none: the configuration has no routes"))
    return table


def _routes(snapshot: Snapshot) -> Iterator[tuple[Sequence[str], CompiledRoute]]:
    """Each route with its names as they were written."""
    routes = {route.name: route for route in (*snapshot.exact.values(), *(route for _, route in snapshot.globs))}
    for name, route in snapshot.config.routes.items():
        yield route.models, routes[name]
