"""``make bench-routing``: how long a large configuration takes to compile and a call to be decided, and how that grows.

One process, no Envoy: the pure core that arrival runs for each request, from the parsed body to the plan.
"""

from __future__ import annotations

import argparse
import os
import platform
import secrets
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from extproc.admission.caller import ANONYMOUS
from extproc.config.gateway import Config
from extproc.config.load import load
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.headers import Headers
from extproc.openai.call import OPERATION_PATHS, read_call
from extproc.providers.registry import PROVIDERS, SETTINGS
from extproc.routing.decision import decide
from extproc.routing.facts import Facts
from extproc.routing.health import NOTHING_SEEN
from extproc.server.reload import uncollected
from tests.bench.table import replace_between_marks

MARKS: Final = "bench-routing"
_ROUNDS: Final = 5
_DECISIONS: Final = 400
_WORD: Final = "gateway "


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much a configuration holds."""

    backends: int
    routes: int
    rules: int


LARGEST: Final = Size(backends=500, routes=1_000, rules=50)
GROWTH: Final = (
    Size(backends=500, routes=1, rules=50),
    Size(backends=500, routes=100, rules=50),
    LARGEST,
    Size(backends=500, routes=1_000, rules=5),
    Size(backends=500, routes=1_000, rules=0),
)
PROMPTS: Final = (100, 10_000, 100_000, 1_000_000)


def _match(number: int) -> dict[str, Any]:
    """Every kind of condition in turn; none of them holds for the call that is decided."""
    kinds: Sequence[dict[str, Any]] = (
        {"headers": {"x-tier": f"tier-{number}"}},
        {"headers": {"x-team": {"regex": f"^team-{number % 50}-[0-9]+$"}}},
        {"promptTokens": {"gte": 4_000 + number % 50, "lte": 4_001 + number % 50}},
        {"user": [f"user-{number}", f"other-{number}"]},
        {"metadata": {"project": f"project-{number}"}},
        {"uses": ["audio"], "maxTokens": {"gt": 100_000 + number}},
        {"caller": {"tier": f"tier-{number}"}, "stream": True},
        {"percentage": {"value": 0, "by": "user"}, "model": f"model-{number}*"},
        {
            "time": {"from": "00:00", "to": f"0{number % 10}:{number % 60:02}", "days": ["sun"]},
            "path": "/v1/chat/completions",
        },
        {"when": f"maxTokens == {200_000 + number % 50} && user == 'nobody'"},
    )
    return kinds[number % len(kinds)]


def configuration(size: Size) -> bytes:
    """A file of that size; half of the routes are globs. JSON is YAML."""
    backends = {
        f"backend-{number}": {"provider": "custom", "url": f"http://b{number}.test/v1", "contextWindow": 4_000_000}
        for number in range(size.backends)
    }
    routes: dict[str, Any] = {}
    for route in range(size.routes):
        rules = [
            {
                "match": _match(route * size.rules + rule),
                "backends": [
                    {"name": f"backend-{(route + rule + other) % size.backends}", "weight": other + 1}
                    for other in range(3)
                ],
            }
            for rule in range(size.rules)
        ]
        routes[f"route-{route}"] = {
            "models": [f"model-{route}", f"family-{route}-*"],
            "rules": rules,
            "defaultBackend": {"name": f"backend-{route % size.backends}"},
            "fallback": {"backends": [f"backend-{(route + 7) % size.backends}"]},
        }
    return orjson.dumps({"backends": backends, "routes": routes})


def compiled(config: Config) -> Snapshot:
    """What a reload makes of it."""
    credentials = {name: (lambda: None) for name in config.backends}
    return compile_snapshot(config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials=credentials)


def decision(snapshot: Snapshot, model: str, characters: int) -> Callable[[], object]:
    """The decision about a call that no rule but the last takes: every rule of its route is asked."""
    prompt = _WORD * (characters // len(_WORD))
    body = orjson.dumps({"model": model, "messages": [{"role": "user", "content": prompt}], "user": "somebody"})
    call, fields = read_call(OPERATION_PATHS["/v1/chat/completions"], body)
    headers = Headers([(":path", "/v1/chat/completions"), ("x-tier", "free"), ("x-team", "team-of-nobody")])

    def decide_once() -> object:
        route = snapshot.route(model)
        assert route is not None
        facts = Facts(
            id=secrets.token_hex(8),
            call=call,
            fields=fields,
            headers=headers,
            caller=ANONYMOUS,
            arrived=1_772_625_600.0,
            upstream_model=model,
            counted_as=route.default.choices[0].target.model(model),
        )
        return decide(facts, route, NOTHING_SEEN)

    return decide_once


def seconds(work: Callable[[], object], times: int) -> float:
    """The median of the rounds, for one time."""
    rounds = []
    for _ in range(_ROUNDS):
        begun = time.process_time()
        for _ in range(times):
            work()
        rounds.append((time.process_time() - begun) / times)
    return statistics.median(rounds)


def tables() -> str:
    """All of it, as Markdown."""
    where = f"Python {platform.python_version()} on one of {os.cpu_count()} CPUs"
    how = (
        f"Measured by `make bench-routing`: {where}, which other work shared: CPU time, not the clock's; medians of "
        f"{_ROUNDS} rounds.\nThe call matches no rule, so that every rule of its route is asked. Loading is reading "
        "the YAML and checking all of it."
    )
    lines = [
        how,
        "",
        "| Backends, routes, rules in each | load (s) | compile (s) | decide, model by name (µs) | by glob (µs) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    by_prompt: Mapping[int, float] = {}
    for size in GROWTH:
        text = configuration(size)
        loading = _timed(partial(load, text, SETTINGS))
        config = load(text, SETTINGS).config
        compiling = statistics.median(_timed(partial(compiled, config)) for _ in range(_ROUNDS))
        snapshot = compiled(config)
        last = size.routes - 1
        named, globbed = (
            seconds(decision(snapshot, model, 400), _DECISIONS) * 1e6 for model in (f"model-{last}", f"family-{last}-x")
        )
        lines.append(
            f"| {size.backends}, {size.routes:,}, {size.rules} | {loading:.1f} | {compiling:.2f} "
            f"| {named:.0f} | {globbed:.0f} |"
        )
        if size == LARGEST:
            by_prompt = {
                prompt: seconds(decision(snapshot, f"model-{last}", prompt), _DECISIONS // 4) * 1e6
                for prompt in PROMPTS
            }
    lines += ["", "| Prompt (bytes) | decide (µs) |", "| ---: | ---: |"]
    lines += [f"| {prompt:,} | {microseconds:.0f} |" for prompt, microseconds in by_prompt.items()]
    return "\n".join(lines)


def _timed(work: Callable[[], object]) -> float:
    with uncollected():
        begun = time.process_time()
        work()
        return time.process_time() - begun


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.routing", description="What deciding costs.")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also put the tables between the marks in this file")
    arguments = parser.parse_args()
    content = tables()
    print(content)
    if arguments.write is not None:
        text = arguments.write.read_text("utf-8")
        arguments.write.write_text(replace_between_marks(text, content, MARKS), "utf-8")


if __name__ == "__main__":
    main()
