"""What is kept of an outcome or a refusal, and in which shape."""

from __future__ import annotations

from dataclasses import replace

import pytest

from extproc.admission.caller import Caller
from extproc.errors import ModelNotFound
from extproc.exchange.refusal import Refusal
from extproc.ledger.entry import attempt_entry, refusal_entry
from extproc.ledger.schema import ATTEMPTS, EXCHANGES
from extproc.openai.usage import Usage
from tests.unit.telemetry.test_tracing import OUTCOME

REFUSAL = Refusal(
    error=ModelNotFound("secret words of the client"),
    exchange="e" * 32,
    request_id="r-1",
    path="/v1/chat/completions",
    arrived=10.0,
    ended=10.25,
    caller=Caller(key="ci", tenant="acme"),
)


def test_every_column_of_an_attempt_is_written() -> None:
    """One that is forgotten would stay empty for ever."""
    entry = attempt_entry(OUTCOME, "r-1")
    assert {column.name for column in ATTEMPTS.columns} <= entry.keys()
    assert {column.name for column in EXCHANGES.columns} - {"attempts"} <= entry.keys()


def test_an_attempt_says_who_asked_what_of_whom_and_how_it_ended() -> None:
    """And nothing that anybody wrote."""
    entry = attempt_entry(OUTCOME, "r-1")
    assert (entry["key"], entry["tenant"], entry["rule"], entry["experiments"], entry["decision"]) == (
        "ci",
        "acme",
        "long-prompts",
        "price=treatment",
        "d-1",
    )
    assert (entry["input_tokens"], entry["cached_input_tokens"], entry["reasoning_tokens"]) == (100, 40, None)
    assert (entry["ended_ms"], entry["outcome"], entry["usage_source"]) == (1_790_000_000_000, "answered", "reported")
    assert (entry["cost"], entry["currency"]) == ("0.00045", "USD")


def test_a_request_is_its_end_user_s() -> None:
    """Whom the client named, where the key has no user of its own."""
    assert attempt_entry(replace(OUTCOME, end_user="ann"), None)["user"] == "ann"


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        pytest.param("x" * 1_000, "x" * 256, id="long"),
        pytest.param("a\0b", "a?b", id="null-character"),
        pytest.param("a\ud800", "a?", id="half-a-surrogate-pair"),
    ],
)
def test_text_of_a_client_is_bounded_and_fits_every_database(asked: str, kept: str) -> None:
    """It chose its model's name and its request's id."""
    entry = attempt_entry(replace(OUTCOME, asked=asked), asked)
    assert (entry["requested_model"], entry["request_id"]) == (kept, kept)


def test_a_count_that_no_prompt_can_have_is_unknown() -> None:
    """Rather than a sum that overflows."""
    entry = attempt_entry(replace(OUTCOME, usage=Usage(input=10**30, output=1)), None)
    assert (entry["input_tokens"], entry["output_tokens"]) == (None, 1)


def test_a_refusal_keeps_its_code_and_not_its_words() -> None:
    """The message may repeat what the client wrote."""
    entry = refusal_entry(REFUSAL)
    assert entry is not None
    assert (entry["status"], entry["outcome"], entry["key"], entry["request_ms"]) == (404, "model_not_found", "ci", 250)
    assert "secret words" not in str(entry)


def test_strangers_leave_no_record() -> None:
    """Who guesses keys must not fill the disk."""
    assert refusal_entry(replace(REFUSAL, caller=None)) is None
