"""What an attempt used, when nobody tells."""

from __future__ import annotations

import pytest

from extproc.metering.catalogue import facts_for
from extproc.metering.measured import Measured, UsageSource, count_produced, estimated, reported
from extproc.openai.produced import Produced
from extproc.openai.usage import Usage
from extproc.providers.openai import Settings


def said(*texts: str) -> Produced:
    """An answer in pieces."""
    produced = Produced()
    for text in texts:
        produced.add(text)
    return produced


def test_reported_usage_is_taken_as_it_is() -> None:
    """The provider bills by it."""
    assert reported(Usage(input=1, output=2)) == Measured(usage=Usage(input=1, output=2), source=UsageSource.REPORTED)


def test_estimate_is_the_prompts_and_what_was_said() -> None:
    """Counted with the model's own tokenizer."""
    measured = estimated(said("Hello", " wor", "ld"), input_tokens=7, model="gpt-4o")
    assert measured == Measured(usage=Usage(input=7, output=2), source=UsageSource.ESTIMATED)
    assert estimated(said(), input_tokens=7, model="gpt-4o").usage == Usage(input=7, output=0)


def test_what_was_told_before_the_end_is_kept() -> None:
    """Anthropic tells the prompt at the beginning, and a first count of the answer."""
    partial = Usage(input=30, output=1, cached_input=20, cache_write=5)
    measured = estimated(said("Hello world"), input_tokens=7, model="gpt-4o", partial=partial)
    assert measured.usage == Usage(input=30, output=2, cached_input=20, cache_write=5)
    longer = estimated(said("Hello"), input_tokens=7, model="gpt-4o", partial=Usage(input=30, output=50, reasoning=40))
    assert longer.usage == Usage(input=30, output=50, reasoning=40)


def test_long_answer_is_counted_by_its_beginning() -> None:
    """No more than that is kept of it."""
    produced = said(*["every good boy deserves fruit; "] * 20_000)
    assert len(produced.text) < 40_000
    assert count_produced(produced, "gpt-4o") == pytest.approx(20_000 * 6, rel=0.02)


def test_everything_a_client_is_given_is_said() -> None:
    """Text, thoughts, refusals, calls; of deltas, messages and text completions."""
    produced = Produced()
    call = {"id": "c", "function": {"name": "get", "arguments": '{"a":1}'}}
    produced.add_choices(
        [
            {"delta": {"content": "a", "reasoning_content": "b", "refusal": "c", "tool_calls": [call, None]}},
            {"message": {"content": "d", "reasoning": None}},
            {"text": "e"},
            {"delta": {"content": ["no text"], "tool_calls": 5}},
            "nonsense",
        ]
    )
    produced.add_choices("nonsense")
    assert produced.text == 'abcget{"a":1}de'


def test_facts_are_the_configs_then_the_lists() -> None:
    """What nobody says is None: it excludes nothing."""
    key = {"provider": "openai", "apiKey": {"env": "K"}}
    known = facts_for(Settings.model_validate(key), price_list="openai", model="gpt-4o")
    assert known.context_window == 128_000
    assert {
        known.max_output,
        known.vision,
        known.tools,
        known.json_schema,
        known.reasoning,
        known.audio,
        known.files,
    } == {None}
    told = Settings.model_validate(
        key | {"contextWindow": 8_000, "maxOutput": 4_000, "capabilities": {"vision": False, "jsonSchema": True}}
    )
    own = facts_for(told, price_list="openai", model="gpt-4o")
    assert (own.context_window, own.max_output, own.vision, own.json_schema, own.tools) == (
        8_000,
        4_000,
        False,
        True,
        None,
    )
    assert facts_for(Settings.model_validate(key), price_list=None, model="own").context_window is None
