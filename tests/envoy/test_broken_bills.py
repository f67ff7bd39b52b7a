"""Clients that leave, providers that break off and fall silent: what was used up to then has one bill, everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from tests.envoy.bill_checks import BOTH_MODES, MODELS, assert_all_agree, assert_ledger_agrees, assert_sums_agree
from tests.envoy.bill_sources import told_by_reply
from tests.envoy.till import SHORT, Till
from tests.fakes import Chunking, CutAfter, CutAt, Fault, LingerAtEnd, Silence, SlowEvents


@BOTH_MODES
@MODELS
def test_silence_is_billed_as_an_estimate(till: Till, model: str, *, stream: bool) -> None:
    """A provider that was at work when the time ran out may charge for the prompt; the answer has its own bill."""
    till.fakes[model].always = Silence()
    seen = till.chat(model, stream=stream, attempts=2)
    told = assert_all_agree(seen, model, source="estimated", answered=False)
    # "hello there", where a provider charges for the text alone.
    assert told.tokens["input"] >= 2
    assert told.tokens["output"] == 0
    assert_all_agree(seen, "openai" if model == "own" else "own")


@MODELS
@BOTH_MODES
def test_client_that_leaves_at_the_start_has_its_prompt_estimated(till: Till, model: str, *, stream: bool) -> None:
    """Nothing has been said yet."""
    till.fakes[model].always = Silence()
    told = assert_all_agree(till.leave(model, stream=stream, sent=0), model, source="estimated", answered=False)
    assert told.tokens["output"] == 0


@MODELS
def test_client_that_leaves_in_the_middle_has_what_was_said_counted(till: Till, model: str) -> None:
    """With the tokens that Anthropic tells at the beginning; the others' prompts are estimated."""
    till.fakes[model].always = SlowEvents(0.05)
    seen = till.leave(model, stream=True, text="[words=300]", sent=200, until=b"word5")
    told = assert_all_agree(seen, model, source="estimated", answered=False)
    assert 5 <= told.tokens["output"] < 200
    assert told.tokens["input"] > 3
    assert ("cache_write" in told.tokens) is model.endswith("claude")


@MODELS
def test_client_that_leaves_in_the_middle_of_a_whole_answer_has_what_came_counted(till: Till, model: str) -> None:
    """It has seen nothing, but its answer was being written."""
    till.fakes[model].always = Chunking((200,), pause=0.05)
    seen = till.leave(model, stream=False, text="[words=300]", sent=1_000)
    told = assert_all_agree(seen, model, source="estimated", answered=False)
    assert 20 < told.tokens["output"] < 1_000


@MODELS
@pytest.mark.parametrize("how", ["fin", "clean"])
def test_stream_that_is_cut_has_what_was_said_counted(till: Till, model: str, how: Any) -> None:
    """The client is told that it broke off, the bill what it had said."""
    till.fakes[model].always = CutAfter(8, how, pause=0.2)
    seen = till.chat(model, stream=True, text="[words=100]")
    told = assert_all_agree(seen, model, source="estimated", answered=False)
    assert 3 <= told.tokens["output"] <= 60
    assert seen.line(model)["outcome"] != "answered"


@MODELS
def test_whole_answer_that_is_cut_is_estimated_and_the_next_backend_asked(till: Till, model: str) -> None:
    """It had been produced, and will be billed."""
    till.fakes[model].always = CutAt(250, "reset", pause=0.2)
    seen = till.chat(model, attempts=2)
    told = assert_all_agree(seen, model, source="estimated", answered=False)
    assert told.tokens["output"] > 20
    assert_all_agree(seen, "openai" if model == "own" else "own")


@MODELS
@pytest.mark.parametrize("fault", [None, LingerAtEnd()], ids=["ends", "lingers"])
def test_client_that_leaves_at_the_end_has_the_bill_of_the_whole_answer(
    till: Till, model: str, fault: Fault | None
) -> None:
    """It has read everything but the end of the connection, whether the provider has ended its own or not."""
    if model in {"gemini", "vertex"} and fault is not None:
        pytest.skip("the end of its connection is the only end that Gemini has")
    whole = assert_all_agree(till.chat(model), model)
    till.fakes[model].clear()
    till.fakes[model].always = fault
    seen = till.leave(model, stream=True, sent=1, until=b"[DONE]")
    assert assert_all_agree(seen, model) == whole
    assert seen.line(model)["outcome"] == "answered"


@MODELS
def test_client_that_leaves_with_a_whole_answer_has_its_bill(till: Till, model: str) -> None:
    """Having read no more than its head."""
    whole = assert_all_agree(till.chat(model), model)
    till.fakes[model].clear()
    seen = till.leave(model, stream=False, sent=1, until=b"\r\n\r\n")
    assert assert_all_agree(seen, model) == whole


@MODELS
def test_stream_that_its_budget_ends_has_the_bill_that_its_client_is_told(till: Till, model: str) -> None:
    """It is an answer, with the price of a request; what had been said when it was ended is counted."""
    till.fakes[model].always = SlowEvents(0.005)
    seen = till.chat(model, stream=True, text="[words=400]", secret=SHORT)
    told = assert_all_agree(seen, model, source="estimated")
    assert told_by_reply(seen, model) is not None
    assert 5 < told.tokens["output"] < 200
    assert seen.line(model)["outcome"] == "answered"


def test_ledger_and_sums_have_what_all_others_tell(till: Till) -> None:
    """Of everything that was asked above."""
    till.chat("own")
    assert_ledger_agrees(till)
    assert_sums_agree(till)
