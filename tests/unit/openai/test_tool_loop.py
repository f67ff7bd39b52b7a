"""Tool calls and their results, as clients write them and as they get them wrong."""

from __future__ import annotations

import orjson
import pytest

from extproc.admission.keyring import ANYONE
from extproc.cli.without_secrets import compile_without_secrets
from extproc.config.load import load
from extproc.errors import InvalidRequest
from extproc.exchange.explanation import explain, request_headers
from extproc.openai.tool_call_id import carry
from extproc.openai.tool_loop import ToolCall, Unanswered, arguments_of
from extproc.providers.registry import SETTINGS
from extproc.routing.health import NOTHING_SEEN

DEEP = "[" * 100_000
BACKENDS: dict[str, dict[str, object]] = {
    "anthropic": {"apiKey": {"env": "K"}, "model": "claude-sonnet-4-5"},
    "bedrock": {"region": "us-east-1", "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
    "gemini": {"apiKey": {"env": "K"}, "model": "gemini-2.5-flash"},
}


def test_results_find_their_calls_by_the_bare_id_too() -> None:
    """Whichever of the two has lost what rode in it."""
    carried = carry("call_1", "anthropic", b"thoughts")
    for asked, answered in ((carried, "call_1"), ("call_1", carried), (carried, carried)):
        unanswered: Unanswered[str] = Unanswered()
        unanswered.add(asked, "here")
        assert unanswered.answer({"tool_call_id": answered}, "messages[1]") == "here"
        unanswered.check()


@pytest.mark.parametrize("identifier", ["call_2", None, 7])
def test_a_result_without_a_call_is_refused(identifier: object) -> None:
    """And a call without a result."""
    unanswered: Unanswered[str] = Unanswered()
    unanswered.add(carry("call_1", "anthropic", b"thoughts"), "here")
    with pytest.raises(InvalidRequest, match="must be a response to a preceding message"):
        unanswered.answer({"tool_call_id": identifier}, "messages[1]")
    with pytest.raises(InvalidRequest, match=r"These had no response: call_1\.$"):
        unanswered.check()


@pytest.mark.parametrize("arguments", [DEEP, "{", "[]", "1", 7, {"a": 1}], ids=str)
def test_arguments_are_the_text_of_an_object(arguments: object) -> None:
    """However deep a client nests them."""
    call = ToolCall(identifier="call_1", name="look", arguments=arguments)
    with pytest.raises(InvalidRequest, match=r"'here\.function\.arguments': expected the JSON text of an object"):
        arguments_of(call, "here")


@pytest.mark.parametrize("provider", BACKENDS)
def test_endless_arguments_are_the_clients_mistake_at_every_provider(provider: str) -> None:
    """Not a failure of ours."""
    config = {
        "backends": {"a": {"provider": provider, **BACKENDS[provider]}},
        "routes": {"r": {"models": ["m"], "defaultBackend": {"name": "a"}}},
    }
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": DEEP}}
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "!"},
    ]
    told = explain(
        request_headers("/v1/chat/completions", {}),
        orjson.dumps({"model": "m", "messages": messages}),
        snapshot=compile_without_secrets(load(orjson.dumps(config), SETTINGS).config),
        now=0.0,
        decision_id="d",
        key=ANYONE,
        states=NOTHING_SEEN,
    )
    assert [attempt.refused for attempt in told.attempts] == [
        "Invalid value for 'messages[1].tool_calls[0].function.arguments': expected the JSON text of an object."
    ]
