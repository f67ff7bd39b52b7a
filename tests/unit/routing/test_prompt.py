"""The length of a prompt: bounds are found as counting would find them, in whatever order they are asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extproc.openai.call import Operation
from extproc.routing.prompt import PromptLength


@given(
    words=st.integers(0, 300),
    limits=st.lists(st.integers(-20, 700), max_size=12),
    model=st.sampled_from(["gpt-4o", "nobody-knows-it"]),
)
def test_bounds_are_those_of_the_count(words: int, limits: list[int], model: str) -> None:
    """One answer never contradicts another."""
    fields = {"messages": [{"role": "user", "content": "word " * words}]}
    prompt = PromptLength(fields, Operation.CHAT, model)
    tokens = PromptLength(fields, Operation.CHAT, model).tokens
    assert [prompt.longer_than(limit) for limit in limits] == [tokens > limit for limit in limits]


def test_an_estimate_must_be_far_over_to_be_sure() -> None:
    """A vocabulary of the model's own need not."""
    fields = {"messages": [{"role": "user", "content": "word " * 100}]}
    for model, sure in (("gpt-4o", True), ("nobody-knows-it", False)):
        prompt = PromptLength(fields, Operation.CHAT, model)
        assert prompt.surely_longer_than(prompt.tokens - 1) is sure
        assert prompt.surely_longer_than(prompt.tokens // 2)
