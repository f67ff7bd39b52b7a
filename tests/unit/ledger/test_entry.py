"""What is kept of an outcome or a refusal, and in which shape."""

from __future__ import annotations

from dataclasses import replace

import pytest

from extproc.admission.caller import Caller
from extproc.config.load import load
from extproc.errors import ModelNotFound
from extproc.exchange.assignment import Assignment
from extproc.exchange.attempt import begin_attempt
from extproc.exchange.refusal import Refusal
from extproc.exchange.snapshot import compile_snapshot
from extproc.headers import ASSIGNMENT, ENVOY_ATTEMPT_COUNT, Headers
from extproc.ledger.entry import attempt_entry, begun_entry, refusal_entry
from extproc.ledger.schema import ATTEMPTS, EXCHANGES
from extproc.openai.call import Operation
from extproc.openai.usage import Usage
from extproc.providers.registry import PROVIDERS, SETTINGS
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


@pytest.mark.parametrize("number", [1, 2])
def test_an_attempt_that_follows_another_says_at_its_start_what_is_known_of_it(number: int) -> None:
    """As it is booked when its worker is killed: what came of it is unknown. A first attempt follows nothing."""
    config = load(
        b"backends: {own: {provider: custom, url: 'http://own.test/v1', model: large}}\n"
        b"routes: {production: {models: ['*'], defaultBackend: {name: own}}}",
        SETTINGS,
    ).config
    snapshot = compile_snapshot(
        config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials={"own": lambda: None, "demo": lambda: None}
    )
    assignment = Assignment(
        operation=Operation.CHAT,
        asked="gpt-4",
        model="gpt-4",
        stream=True,
        include_usage=False,
        route="production",
        plan=("a", "own"),
        retries=0,
        try_ms=2_000,
        idle_ms=1_000,
        arrived_ms=1_789_999_999_000,
        deadline_ms=None,
        exchange="e" * 32,
        caller=Caller(key="ci", tenant="acme"),
    )
    headers = Headers([(ASSIGNMENT, assignment.to_header().decode()), (ENVOY_ATTEMPT_COUNT, str(number))])
    (target,) = snapshot.targets.values()
    entry = begun_entry(begin_attempt(headers, target, started=1_790_000_000.0), "r-1")
    if number == 1:
        assert entry is None
        return
    assert entry is not None
    assert entry.keys() == attempt_entry(OUTCOME, "r-1").keys()
    assert (entry["kind"], entry["exchange"], entry["attempt"], entry["final"]) == ("begun", "e" * 32, 2, False)
    assert (entry["request_id"], entry["key"], entry["tenant"], entry["route"]) == ("r-1", "ci", "acme", "production")
    assert (entry["backend"], entry["model"], entry["outcome"]) == ("own", "large", "gateway")
    assert entry["ended_ms"] == 1_790_000_000_000
    unknown = ("status", "usage_source", "cost", "input_tokens", "duration_ms", "request_ms", "first_token_ms")
    assert {entry[name] for name in unknown} == {None}


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
