"""Counting and reckoning, whatever the text, the tokens and the price."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extproc.metering.cost import cost, text_cost
from extproc.metering.counting import counter_for
from extproc.metering.estimate import estimate_input, longer_than, rough_input
from extproc.metering.image_size import image_size
from extproc.metering.rates import Price, PriceSource, Rate
from extproc.openai.call import Operation
from extproc.openai.usage import Usage, read_usage, usage_fields

MODELS = ("gpt-4o", "gpt-4", "claude-sonnet-4-5", "claude-opus-5", "gemini-2.5-pro", "llama-3.1-8b", "mistral", "own")
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
PARTS = st.dictionaries(
    st.sampled_from(["type", "text", "image_url", "input_audio", "file", "refusal"]),
    st.sampled_from(["text", "image_url", "input_audio", "file", "refusal"]) | JSON,
)
MESSAGES = st.lists(
    st.dictionaries(
        st.sampled_from(["role", "content", "name", "tool_calls", "reasoning_content"]),
        JSON | st.lists(PARTS, max_size=3),
    ),
    max_size=4,
)
TOOLS = st.lists(st.fixed_dictionaries({"type": st.just("function"), "function": JSON}) | JSON, max_size=3)
AMOUNTS = st.decimals(min_value=0, max_value=1_000, places=12)
RATES = st.builds(
    Rate,
    AMOUNTS,
    st.lists(st.tuples(st.integers(0, 1_000), AMOUNTS), max_size=2, unique_by=lambda tier: tier[0]).map(
        lambda tiers: tuple(sorted(tiers))
    ),
)
PRICES = st.builds(
    Price,
    source=st.just(PriceSource.LIST),
    input=RATES,
    output=RATES,
    cached_input=st.none() | RATES,
    cache_write=st.none() | RATES,
    cache_write_1h=st.none() | RATES,
    audio_input=st.none() | RATES,
    audio_output=st.none() | RATES,
    reasoning=st.none() | RATES,
    request=AMOUNTS,
)
COUNTS = st.none() | st.integers(0, 10**9)
USAGES = st.builds(
    Usage,
    input=st.integers(0, 10**9),
    output=st.integers(0, 10**9),
    cached_input=COUNTS,
    cache_write=COUNTS,
    cache_write_1h=COUNTS,
    reasoning=COUNTS,
    audio_input=COUNTS,
    audio_output=COUNTS,
)


@pytest.mark.parametrize("model", MODELS)
@given(text=st.text(max_size=400), limit=st.integers(-2, 300))
def test_longer_means_a_greater_count(model: str, text: str, limit: int) -> None:
    """The short way and the long way agree."""
    counter = counter_for(model)
    assert counter.longer_than(text, limit) is (counter.count(text) > limit)


@pytest.mark.parametrize("model", ["gpt-4o", "claude-opus-5", "gemini-2.5-pro", "llama-3.1-8b"])
@settings(max_examples=15)
@given(
    words=st.lists(st.sampled_from(["a", "the quick", "\n", "  ", "Äpfel", "日本語", "🙂", "{}", "12345"]), max_size=3)
)
def test_long_texts_agree_too(model: str, words: list[str]) -> None:
    """Where a text is cut into slices, and where it is sampled."""
    counter = counter_for(model)
    for times in (1_500, 30_000):
        text = " ".join(words) * times
        counted = counter.count(text)
        assert counter.longer_than(text, counted - 1)
        assert not counter.longer_than(text, counted)


@example(messages=[], more=[], tools=[{"type": "function", "function": -(2**63) - 1}], model="own")
@given(messages=MESSAGES, more=MESSAGES, tools=TOOLS, model=st.sampled_from(MODELS))
def test_estimate_grows_with_the_prompt(messages: list[Any], more: list[Any], tools: list[Any], model: str) -> None:
    """Whatever JSON a client sends: no error, and no message that makes the prompt shorter."""
    fewer: dict[str, Any] = {"messages": messages, "tools": tools}
    longer = {"messages": [*messages, *more], "tools": tools}
    tokens = estimate_input(fewer, Operation.CHAT, model).tokens
    assert 0 <= tokens <= estimate_input(longer, Operation.CHAT, model).tokens
    assert longer_than(fewer, Operation.CHAT, model, tokens - 1)
    assert not longer_than(fewer, Operation.CHAT, model, tokens)
    assert 0 <= rough_input(fewer, Operation.CHAT, model) <= rough_input(longer, Operation.CHAT, model)


@given(data=st.binary(max_size=200) | st.text(max_size=200))
def test_no_image_is_too_broken(data: bytes | str) -> None:
    """A client may call anything an image."""
    text = data if isinstance(data, str) else data.decode("latin-1")
    for start in ("", "data:image/png;base64,", "data:image/jpeg;base64,/9j/"):
        size = image_size(start + text)
        assert size is None or min(size) >= 0


@given(usage=USAGES, price=PRICES)
def test_every_token_is_charged_once(usage: Usage, price: Price) -> None:
    """At one price for all kinds the cost is that of input and output, however they are divided."""
    one = Rate(Decimal("0.000001"))
    flat = Price(
        source=PriceSource.LIST,
        input=one,
        output=one,
        cached_input=price.cached_input and one,
        cache_write=price.cache_write and one,
        cache_write_1h=price.cache_write_1h and one,
        audio_input=price.audio_input and one,
        audio_output=price.audio_output and one,
        reasoning=price.reasoning and one,
    )
    assert cost(usage, flat).amount == Decimal(usage.input + usage.output).scaleb(-6)


@given(usage=USAGES, price=PRICES)
def test_cost_is_exact(usage: Usage, price: Price) -> None:
    """It has all the digits that its products have, is never negative, and its text says it again."""
    found = cost(usage, price)
    assert found.amount >= 0
    assert Decimal(found.digits) == found.amount
    assert "E" not in found.digits
    exponent = found.amount.as_tuple().exponent
    assert isinstance(exponent, int)
    assert exponent >= -12
    assert cost(usage, price, answered=False).amount + price.request == found.amount


@given(tokens=st.integers(0, 10**9), answer=st.integers(0, 10**9), price=PRICES)
def test_text_costs_the_same_when_nothing_else_is_asked_for(tokens: int, answer: int, price: Price) -> None:
    """What is held before a call is reckoned as what it is billed afterwards."""
    assert text_cost(tokens, answer, price) == cost(Usage(input=tokens, output=answer), price).amount


@given(one=USAGES, other=USAGES, rate=AMOUNTS)
def test_cost_adds_up(one: Usage, other: Usage, rate: Decimal) -> None:
    """Two calls cost what one of both sizes would, where the price has no thresholds."""
    price = Price(source=PriceSource.LIST, input=Rate(rate), output=Rate(rate * 3))
    both = Usage(input=one.input + other.input, output=one.output + other.output)
    assert cost(one, price).amount + cost(other, price).amount == cost(both, price).amount


@given(usage=USAGES)
def test_usage_survives_being_written(usage: Usage) -> None:
    """The client's object says all that is known."""
    assert read_usage(usage_fields(usage)) == usage
