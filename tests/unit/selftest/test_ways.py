"""A call for every rule of which one can be made; for the others, why not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from extproc.cli.without_secrets import compile_without_secrets
from extproc.config.gateway import Config
from extproc.config.load import load
from extproc.config.matches import Match
from extproc.openai.call import OPERATION_PATHS
from extproc.providers.registry import SETTINGS
from extproc.selftest.callers import make_callers
from extproc.selftest.matching import NotMade, asks_for
from extproc.selftest.ways import Way, Ways

NOON = 1_795_608_000.0


def way(match: dict[str, Any], *, stream: bool = False, before: dict[str, Any] | None = None) -> Way:
    """To the rule ``it``, behind another where one is given. Raises NotMade."""
    rules = [
        *([{"name": "before", "match": before, "backends": [{"name": "b"}]}] if before is not None else []),
        {"name": "it", "match": match, "backends": [{"name": "b"}]},
    ]
    route = {"models": ["gpt-4", "gpt-4-*"], "defaultBackend": {"name": "a"}, "rules": rules}
    backends = {name: {"provider": "vllm", "url": "http://localhost:1"} for name in "ab"}
    written = {"backends": backends, "routes": {"r": route, "other": {**route, "models": ["x"], "rules": []}}}
    config = load(orjson.dumps(written), SETTINGS).config
    callers = make_callers(config)
    run = load(orjson.dumps({**written, "keys": list(callers.entries)}), SETTINGS).config if callers.entries else config
    found = Ways(compile_without_secrets(run), callers, now=NOON).to(
        "r", config.routes["r"], len(rules) - 1, stream=stream
    )
    assert found.rule == "it"
    return found


def test_headers_are_those_that_it_wants() -> None:
    """By value, by their beginning, or at all; what must not be there is not."""
    match = {
        "headers": {"x-a": "b", "x-p": {"prefix": "pre"}, "x-t": {"present": True}, "x-n": {"present": False}},
    }
    assert way(match).ask.headers == {"x-a": "b", "x-p": "pre", "x-t": "selftest"}


def test_callers_get_keys_of_their_own() -> None:
    """With all that the rule asks of them."""
    found = way({"caller": {"tier": ["free", "trial"], "tenant": "acme", "tags": ["beta", "eu"]}})
    assert found.ask.caller == "selftest-1"
    assert way({"caller": {"key": "ci"}}).ask.caller == "ci"


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        pytest.param({"maxTokens": {"gte": 100, "lt": 200}}, {"max_tokens": 100}, id="limit"),
        pytest.param({"maxTokens": {"lt": 200}}, {"max_tokens": 1}, id="limit-from-below"),
        pytest.param({"user": ["ann", "bob"]}, {"user": "ann"}, id="user"),
        pytest.param({"metadata": {"team": "ml"}}, {"metadata": {"team": "ml"}}, id="metadata"),
        pytest.param({"stream": False}, {"stream": False}, id="whole"),
        pytest.param({"uses": ["reasoning"]}, {"reasoning_effort": "low"}, id="reasoning"),
        pytest.param({"percentage": {"value": 100}}, {}, id="every-one"),
        pytest.param({"time": {"from": "10:00", "to": "13:00"}}, {}, id="now"),
        pytest.param({"when": "caller.tier != 'gold'"}, {}, id="expression-that-holds"),
        pytest.param({"model": "gpt-4-*"}, {"model": "gpt-4-selftest"}, id="glob"),
        pytest.param({"model": "gpt-4-turbo"}, {"model": "gpt-4-turbo"}, id="name-behind-a-glob"),
    ],
)
def test_the_body_has_what_it_asks_for(match: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each in the field where clients have it."""
    found = way(match)
    body = found.ask.body(found.model, "well?", stream=False)
    assert body.items() >= expected.items()


@pytest.mark.parametrize("uses", ["tools", "images", "files", "audio", "json_schema", "reasoning"])
def test_what_it_must_use_is_used(uses: str) -> None:
    """As the gateway's own reading of the body finds it."""
    assert way({"uses": [uses]}).ask.uses == (uses,)


def test_prompts_are_as_long_as_it_wants() -> None:
    """Counted by the gateway; an endless one is not made."""
    assert way({"promptTokens": {"gt": 4_000}}).ask.words > 4_000
    with pytest.raises(NotMade, match="promptTokens wants a prompt of more than 50,000 tokens"):
        way({"promptTokens": {"gt": 90_000}})


def test_every_operation_is_tried_when_a_rule_names_none() -> None:
    """By the path that the API has for it."""
    nobody = make_callers(Config())
    asked = [f"/v1{ask.operation}" for ask in asks_for(Match(), nobody)]
    assert asked == list(OPERATION_PATHS)


@pytest.mark.parametrize("wanted", [{"operation": "embeddings"}, {"path": "/v1/embeddings"}])
def test_operations_are_those_that_it_takes(wanted: dict[str, Any]) -> None:
    """By name or by path."""
    assert way(wanted).ask.operation == "/embeddings"


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        pytest.param({"percentage": {"value": 99}}, "percentage draws among the calls", id="percentage"),
        pytest.param({"headers": {"x-a": {"regex": "^b"}}}, "of which header x-a has a match of ^b", id="expression"),
        pytest.param({"time": {"from": "13:00", "to": "14:00"}}, "no call is known of which time", id="not-now"),
        pytest.param({"when": "user == 'ann'"}, "no call is known of which when", id="cel"),
        pytest.param({"stream": True}, "no call is known of which stream", id="other-kind"),
    ],
)
def test_where_none_can_be_made_it_is_said_why(match: dict[str, Any], reason: str) -> None:
    """Nothing is left out in silence."""
    with pytest.raises(NotMade) as told:
        way(match)
    assert reason in str(told.value)


def test_a_rule_behind_one_that_takes_its_calls_is_not_reached() -> None:
    """As by no client."""
    with pytest.raises(NotMade, match="before takes such calls before it"):
        way({"user": "ann", "operation": "chat"}, before={"user": ["bob", "ann"]})
