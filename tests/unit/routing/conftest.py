"""Facts, routes and states made from what a test cares about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from extproc.admission.caller import ANONYMOUS, Caller
from extproc.config.load import load
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.headers import Headers
from extproc.openai.call import OPERATION_PATHS, path_of, read_call
from extproc.providers.registry import PROVIDERS, SETTINGS
from extproc.routing.decision import Decision, decide
from extproc.routing.facts import Facts
from extproc.routing.health import NOTHING_SEEN, UNKNOWN, BackendState, BackendStates
from extproc.routing.route import CompiledRoute

# 2026-03-04 was a Wednesday; noon in UTC.
NOON = 1_772_625_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """What is known, by backend."""

    known: Mapping[str, BackendState] = field(default_factory=dict)

    def state(self, backend: str) -> BackendState:
        """See BackendStates."""
        return self.known.get(backend, UNKNOWN)


def compiled(text: str) -> Snapshot:
    """A config, ready to decide."""
    config = load(text.encode(), SETTINGS).config
    credentials = {name: (lambda: None) for name in config.backends}
    return compile_snapshot(config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials=credentials)


def facts_of(
    body: Mapping[str, Any] | None = None,
    *,
    route: CompiledRoute | None = None,
    path: str = "/v1/chat/completions",
    headers: Mapping[str, str] | None = None,
    caller: Caller = ANONYMOUS,
    arrived: float = NOON,
    id: str = "decision",  # noqa: A002 - the field's name
) -> Facts:
    """The facts of a call; without more a chat that says hello."""
    default = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    call, fields = read_call(OPERATION_PATHS[path_of(path)], orjson.dumps({**default, **(body or {})}))
    upstream = call.model if route is None else route.upstream_name(call.model)
    return Facts(
        id=id,
        call=call,
        fields=fields,
        headers=Headers([(":method", "POST"), (":path", path), *(headers or {}).items()]),
        caller=caller,
        arrived=arrived,
        upstream_model=upstream,
        counted_as=upstream if route is None else route.default.choices[0].target.model(upstream),
    )


def decided(snapshot: Snapshot, facts: Facts, states: BackendStates = NOTHING_SEEN) -> Decision:
    """Where the call goes."""
    route = snapshot.route(facts.call.model)
    assert route is not None
    return decide(facts, route, states)


def plan(decision: Decision) -> list[str]:
    """The backends, in order."""
    return [target.backend for target in decision.targets]


@pytest.fixture(scope="session")
def three() -> str:
    """Three backends that speak OpenAI's API."""
    return """
backends:
  a: {provider: custom, url: "http://a.test/v1"}
  b: {provider: custom, url: "http://b.test/v1"}
  c: {provider: custom, url: "http://c.test/v1"}
"""
