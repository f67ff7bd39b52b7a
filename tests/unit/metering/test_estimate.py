"""Prompts counted before the call, against what providers have really charged for the same prompts."""

from __future__ import annotations

from typing import Any, Final

import pytest

from extproc.metering.counting import counter_for
from extproc.metering.estimate import estimate_input, longer_than, requested_output, rough_input
from extproc.metering.vocabularies import Vocabulary, vocabulary
from extproc.openai.call import Operation

JARGON: Final = [
    {
        "role": "system",
        "content": (
            "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."
        ),
    },
    {"role": "system", "name": "example_user", "content": "New synergies will help drive top-line growth."},
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Things working well together will increase revenue.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": (
            "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."
        ),
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client deliverable.",
    },
]
WEATHER: Final = [
    {
        "role": "system",
        "content": "You are a helpful assistant that can answer to questions about the weather.",
    },
    {"role": "user", "content": "What's the weather like in San Francisco?"},
]
LOCATION: Final = {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}
UNIT: Final = {"type": "string", "description": "The unit of temperature to return", "enum": ["celsius", "fahrenheit"]}


def tool(name: str, **properties: Any) -> dict[str, Any]:
    """A function that tells the weather."""
    parameters = {"type": "object", "properties": properties, "required": ["location"]}
    description = "Get the current weather in a given location"
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def tokens(model: str, operation: Operation = Operation.CHAT, **fields: Any) -> int:
    """What a request is estimated at."""
    return estimate_input(fields, operation, model).tokens


@pytest.mark.parametrize(("model", "charged"), [("gpt-4", 129), ("gpt-3.5-turbo", 129), ("gpt-4o", 124)])
def test_messages_are_counted_as_openai_charged_them(model: str, charged: int) -> None:
    """Recorded in https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken."""
    assert tokens(model, messages=JARGON) == charged
    assert estimate_input({"messages": JARGON}, Operation.CHAT, model).exact


@pytest.mark.parametrize(("model", "charged"), [("gpt-4", 105), ("gpt-3.5-turbo", 105), ("gpt-4o-mini", 101)])
def test_tools_are_counted_as_openai_charged_them(model: str, charged: int) -> None:
    """Recorded in the same place."""
    tools = [tool("get_current_weather", location=LOCATION, unit=UNIT)]
    assert tokens(model, messages=WEATHER, tools=tools) == charged
    assert not estimate_input({"messages": WEATHER, "tools": tools}, Operation.CHAT, model).exact


def test_claude_is_near_to_what_anthropic_counts() -> None:
    """Recorded in https://platform.claude.com/docs/en/build-with-claude/token-counting: 14, and 403 with a tool."""
    greeting = [{"role": "system", "content": "You are a scientist"}, {"role": "user", "content": "Hello, Claude"}]
    assert tokens("claude-sonnet-4-5", messages=greeting) == pytest.approx(14, abs=2)
    with_tool = tokens("claude-sonnet-4-5", messages=WEATHER[1:], tools=[tool("get_weather", location=LOCATION)])
    assert with_tool == pytest.approx(403, rel=0.07)


def test_newer_claude_has_the_newer_tokenizer() -> None:
    """Anthropic: approximately 30 percent more tokens than on earlier models."""
    text = "The committee met on Tuesday to consider the proposed changes. " * 20
    older, newer = (counter_for(model).count(text) for model in ("claude-opus-4-6", "claude-opus-4-7"))
    assert newer / older == pytest.approx(1.3, abs=0.01)


@pytest.mark.parametrize(
    ("operation", "fields", "expected"),
    [
        (Operation.TEXT_COMPLETION, {"prompt": "hello world"}, 2),
        (Operation.TEXT_COMPLETION, {"prompt": ["hello world", "hello"], "suffix": "world"}, 4),
        (Operation.TEXT_COMPLETION, {"prompt": [1, 2, 3]}, 3),
        (Operation.EMBEDDINGS, {"input": [[1, 2, 3], [4]]}, 4),
        (Operation.EMBEDDINGS, {"input": ["hello world"]}, 2),
        (Operation.CHAT, {"messages": []}, 3),
        (Operation.CHAT, {"messages": [{"role": "user", "content": "hello world"}]}, 9),
        (Operation.CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello world"}]}]}, 9),
        (Operation.CHAT, {"messages": [{"role": "user"}, "nonsense", {"role": "user", "content": 5}]}, 11),
    ],
)
def test_every_operation_is_read(operation: Operation, fields: dict[str, Any], expected: int) -> None:
    """Texts, lists of them, and what is tokens already."""
    assert estimate_input(fields, operation, "gpt-4o").tokens == expected


def test_nothing_that_is_sent_counts_nothing() -> None:
    """Each of these is part of the prompt."""
    plain = [{"role": "user", "content": "hello world"}]
    fewer = tokens("gpt-4o", messages=plain)
    call = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'}}
    schema = {"name": "s", "schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    nested = tool("f", location={"type": "object", "properties": {"city": {"type": "string", "description": "x"}}})
    for more in (
        {"messages": [*plain, {"role": "assistant", "tool_calls": [call]}]},
        {"messages": [*plain, {"role": "assistant", "reasoning_content": "Let me think about this."}]},
        {"messages": plain, "functions": [nested["function"]]},
        {"messages": plain, "response_format": {"type": "json_schema", "json_schema": schema}},
        {"messages": [{"role": "user", "content": "hello world", "name": "someone"}]},
        {"messages": plain, "tools": [nested]},
    ):
        assert tokens("gpt-4o", **more) > fewer
    assert tokens("gpt-4o", messages=plain, tools=[nested]) > tokens("gpt-4o", messages=plain, tools=[tool("f")])


def test_endless_conversation_is_sampled() -> None:
    """A body may hold a million of the smallest messages, and each would cost some microseconds."""
    message = {"role": "user", "content": "every good boy"}
    one = tokens("gpt-4o", messages=[message]) - 3
    for count in (4_096, 4_097, 100_000):
        fields = {"messages": [message] * count}
        estimate = estimate_input(fields, Operation.CHAT, "gpt-4o")
        assert estimate.tokens == pytest.approx(one * count, rel=0.05)
        assert estimate.exact is (count == 4_096)
        assert rough_input(fields, Operation.CHAT, "gpt-4o") == pytest.approx(one * count, rel=0.2)
        parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "every good boy"}] * count}]}
        assert estimate_input(parts, Operation.CHAT, "gpt-4o").tokens == pytest.approx(3 * count, rel=0.05)


def test_schema_that_is_nested_without_end_is_counted_to_a_depth() -> None:
    """A client's schema may be as deep as JSON may."""
    schema: dict[str, Any] = {}
    for _ in range(500):
        schema = {"type": "object", "properties": {"inner": schema}}
    assert tokens("gpt-4o", messages=JARGON, tools=[{"type": "function", "function": {"parameters": schema}}]) > 124


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash", "llama-3.1-8b", "own-model"])
def test_long_prompt_is_told_from_a_short_one_without_counting(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte against "> 4000", and a sentence: the number of bytes alone is enough."""

    def count(*_: object) -> int:
        pytest.fail("a text was counted")

    words = counter_for(model).family.vocabulary
    counter_for(model).count("loaded")
    kind = type(vocabulary(words))
    monkeypatch.setattr(kind, "count", count)
    monkeypatch.setattr(kind, "count_until", count)
    for content, longer in (("word " * 200_000, True), ("a few words", False)):
        fields = {"messages": [{"role": "user", "content": content}]}
        assert longer_than(fields, Operation.CHAT, model, 4_000) is longer


def test_what_was_said_before_is_not_counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversation sends all of it with every turn: only the new one is counted, by each vocabulary for itself."""
    kind = type(vocabulary(counter_for("gpt-4o").family.vocabulary))
    before = tokens("gpt-4o", messages=WEATHER)
    counted: list[str] = []
    count = kind.count

    def noted(words: Vocabulary, text: str) -> int:
        counted.append(text)
        return count(words, text)

    monkeypatch.setattr(kind, "count", noted)
    turn = {"role": "user", "content": "And in Oakland, by the way?"}
    longer = tokens("gpt-4o", messages=[*WEATHER, turn])
    assert counted == [turn["content"]]
    assert longer > before
    assert tokens("gpt-4o", messages=[*WEATHER, turn]) == longer
    assert len(counted) == 1
    tokens("gpt-4", messages=[turn])
    assert counted == [turn["content"]] * 2


@pytest.mark.parametrize("model", ["gpt-4o", "claude-opus-5", "mistral-7b", "deepseek-chat"])
@pytest.mark.parametrize("words", [1, 50, 2_000, 60_000])
def test_threshold_is_where_the_estimate_is(model: str, words: int) -> None:
    """One less is longer, the same is not; for short prompts, long ones, and those that are sampled."""
    text = "every good boy deserves fruit; " * words
    fields = {"messages": [{"role": "user", "content": text}]}
    estimate = estimate_input(fields, Operation.CHAT, model)
    assert longer_than(fields, Operation.CHAT, model, estimate.tokens - 1)
    assert not longer_than(fields, Operation.CHAT, model, estimate.tokens)
    whole = len(text) <= vocabulary(counter_for(model).family.vocabulary).most
    assert whole is (words < 60_000 and (model, words) != ("mistral-7b", 2_000))
    assert estimate.exact is (whole and model != "claude-opus-5")


@pytest.mark.parametrize("model", ["gpt-4o", "llama-3.1-8b", "gemini-2.5-pro"])
def test_sample_of_a_long_prompt_is_near_to_all_of_it(model: str) -> None:
    """Prose, then code, then numbers: what is counted in slices stands for the whole."""
    parts = ("The committee met again on Tuesday. ", "def add(a, b):\n    return a + b\n", "3.14159 2.71828 ")
    text = "".join(part * 6_000 for part in parts)
    whole = sum(counter_for(model).count(part * 100) for part in parts) * 60
    assert counter_for(model).count(text) == pytest.approx(whole, rel=0.05)


def test_rough_estimate_is_near_to_the_count() -> None:
    """For prompts of which only the rough one is made."""
    for fields in ({"messages": JARGON}, {"messages": WEATHER}):
        counted = estimate_input(fields, Operation.CHAT, "gpt-4o").tokens
        assert rough_input(fields, Operation.CHAT, "gpt-4o") == pytest.approx(counted, rel=0.2)


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"max_tokens": None}, None),
        ({"max_tokens": "5"}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7}, 7),
        ({"max_completion_tokens": 7, "max_tokens": 5}, 7),
        ({"max_completion_tokens": 5, "max_tokens": 7}, 7),
        ({"max_completion_tokens": -1, "max_tokens": 7}, None),
        ({"max_tokens": 5, "n": 3}, 15),
        ({"max_tokens": 5, "n": True}, 5),
        ({"max_tokens": 5, "n": 2, "best_of": 4}, 20),
        ({"max_tokens": 5, "prompt": "one"}, 5),
        ({"max_tokens": 5, "prompt": [1, 2, 3]}, 5),
        ({"max_tokens": 5, "n": 2, "prompt": ["one", "two", "three"]}, 30),
        ({"max_tokens": 5, "prompt": [[1, 2], [3]]}, 10),
    ],
)
def test_limit_of_the_answer_is_the_clients(fields: dict[str, Any], limit: int | None) -> None:
    """For all choices together; None where there is none, not 0."""
    assert requested_output(fields) == limit
