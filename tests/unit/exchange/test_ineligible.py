"""Backends that cannot do what a request needs, or would lose something of it: passed by, early or late."""

from __future__ import annotations

from dataclasses import replace

import pytest

from extproc.config.load import load
from extproc.errors import KortexError, UnsupportedFeature
from extproc.exchange.arrival import plan_call
from extproc.exchange.assignment import read_assignment
from extproc.exchange.attempt import begin_attempt
from extproc.exchange.own_headers import own_headers
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.exchange.without_provider import refuse
from extproc.headers import ASSIGNMENT, DROPPED_PARAMS, ENVOY_ATTEMPT_COUNT, FAILOVER, Headers
from extproc.providers.registry import PROVIDERS, SETTINGS

CONFIG = b"""
backends:
  first: {provider: custom, url: "http://first.test/v1"}
  claude: {provider: anthropic, model: claude-sonnet-4-5, apiKey: {env: CLAUDE}}
  opus: {provider: anthropic, model: claude-opus-5-5, apiKey: {env: CLAUDE}}
routes:
  claude: {models: [claude], defaultBackend: {name: claude}, fallback: {backends: [first]}}
  strict: {models: [strict], strict: true, defaultBackend: {name: claude}, fallback: {backends: [first]}}
  only-claude: {models: [only-claude], defaultBackend: {name: claude}, fallback: {backends: [opus]}}
  compatible: {models: [compatible], defaultBackend: {name: first}}
"""
REQUEST = Headers([(":method", "POST"), (":path", "/v1/chat/completions")])
MESSAGES = '"messages":[{"role":"user","content":"hi"}]'


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    """Backends of two dialects."""
    config = load(CONFIG, SETTINGS).config
    credentials = {name: (lambda: "sk-secret") for name in config.backends}
    return compile_snapshot(config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials=credentials)


def plan_of(snapshot: Snapshot, model: str, fields: str) -> tuple[str, ...]:
    """The backends of a chat with these further fields, in their order."""
    body = f'{{"model":"{model}",{MESSAGES}{fields}}}'.encode()
    planned = plan_call(REQUEST, body, snapshot=snapshot, now=lambda: 0.0, decision_id="d", exchange="e")
    return read_assignment(dict(planned.set_headers)[ASSIGNMENT].decode()).plan


@pytest.mark.parametrize(
    ("model", "fields", "plan"),
    [
        pytest.param("claude", "", ("claude", "first"), id="nothing-special"),
        pytest.param("claude", ',"seed":7', ("claude", "first"), id="a-knob"),
        pytest.param("claude", ',"n":2', ("first",), id="a-meaning"),
        pytest.param("claude", ',"n":1', ("claude", "first"), id="a-meaning-at-rest"),
        pytest.param("strict", ',"seed":7', ("first",), id="a-knob-on-a-strict-route"),
        pytest.param("only-claude", ',"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"',
                     ("claude",), id="one-model-cannot"),
        pytest.param("compatible", ',"n":2,"anything":1', ("first",), id="compatible-servers"),
    ],
)  # fmt: skip
def test_backends_are_left_out_when_they_cannot_do_what_is_asked(
    snapshot: Snapshot, model: str, fields: str, plan: tuple[str, ...]
) -> None:
    """Before anybody is asked."""
    assert plan_of(snapshot, model, fields) == plan


def test_request_is_refused_when_no_backend_can_serve_all_of_it(snapshot: Snapshot) -> None:
    """Naming who lacks what."""
    with pytest.raises(KortexError, match="claude lacks logprobs, n; opus lacks logprobs, n") as caught:
        plan_of(snapshot, "only-claude", ',"n":2,"logprobs":true')
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "unsupported_feature", "logprobs")


def attempt(snapshot: Snapshot, model: str, fields: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """What the first backend's request lacks, and the headers that every reply to it has."""
    body = f'{{"model":"{model}",{MESSAGES}{fields}}}'.encode()
    planned = plan_call(REQUEST, body, snapshot=snapshot, now=lambda: 0.0, decision_id="d", exchange="e")
    assignment = dict(planned.set_headers)[ASSIGNMENT].decode()
    headers = Headers([(ASSIGNMENT, assignment), (ENVOY_ATTEMPT_COUNT, "1")])
    begun = begin_attempt(headers, snapshot.targets[planned.targets[0]], started=0.0)
    written = begun.encode(headers, body)
    return written.dropped, dict(own_headers(replace(begun, dropped=written.dropped)))


@pytest.mark.parametrize(
    ("fields", "header"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param(',"seed":7,"logit_bias":{"1":1}', "logit_bias, seed", id="two"),
        pytest.param(',"we\\r\\nird: ü":1', "we%0D%0Aird%3A%20%C3%BC", id="a-name-no-header-can-hold"),
    ],
)
def test_dropped_parameters_are_named_in_a_header(snapshot: Snapshot, fields: str, header: str | None) -> None:
    """Names come from the client: they are written so that they stay one header."""
    dropped, headers = attempt(snapshot, "claude", fields)
    assert headers.get(DROPPED_PARAMS) == header
    assert bool(dropped) == (header is not None)


def test_loss_is_refused_when_the_route_is_strict_and_it_shows_late(snapshot: Snapshot) -> None:
    """Both knobs are mapped, but not together; the next backend may have both."""
    body = f'{{"model":"strict",{MESSAGES},"temperature":0.1,"top_p":0.5}}'.encode()
    planned = plan_call(REQUEST, body, snapshot=snapshot, now=lambda: 0.0, decision_id="d", exchange="e")
    headers = Headers([(ASSIGNMENT, dict(planned.set_headers)[ASSIGNMENT].decode()), (ENVOY_ATTEMPT_COUNT, "1")])
    begun = begin_attempt(headers, snapshot.targets[planned.targets[0]], started=0.0)
    with pytest.raises(UnsupportedFeature, match="'claude' lacks top_p") as caught:
        begun.encode(headers, body)
    answer = refuse(begun, caught.value, now=0.0).answer
    assert dict(answer.headers)[FAILOVER] == "unsupported"
