"""What an outcome says of its backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from extproc.exchange.attempt import Attempt
from extproc.exchange.bill import Bill
from extproc.exchange.observation import observe, observe_broken_off, retry_after_seconds
from extproc.exchange.outcome import Outcome, conclude
from extproc.exchange.verdict import Reason, judge_reason
from extproc.metering.measured import reported
from extproc.openai.usage import Usage
from extproc.routing.board import Result

StartAttempt = Callable[..., Attempt]


@pytest.fixture
def outcome(start: StartAttempt) -> Outcome:
    """A streamed answer: the first token after 200 ms, 90 more within 900 ms."""
    attempt = start(stream=True)
    return conclude(
        attempt,
        now=attempt.started + 1.1,
        status=200,
        final=True,
        bill=Bill(measured=reported(Usage(input=7, output=90))),
        first_event_at=attempt.started + 0.2,
    )


def test_an_answer_is_a_success_with_its_speed(outcome: Outcome) -> None:
    """From the first token on."""
    seen = observe(outcome, now=0.0)
    assert (seen.backend, seen.result) == (outcome.backend, Result.SUCCESS)
    assert seen.first_token_ms == pytest.approx(200.0)
    assert seen.tokens_per_second == pytest.approx(100.0)


def test_an_unstreamed_answer_says_nothing_of_the_first_token(outcome: Outcome) -> None:
    """It comes with the last."""
    seen = observe(replace(outcome, stream=False), now=0.0)
    assert (seen.result, seen.first_token_ms, seen.tokens_per_second) == (Result.SUCCESS, None, None)


@pytest.mark.parametrize("reason", [None, Reason.RESET, Reason.CLIENT_GONE])
@pytest.mark.parametrize("number", [1, 2])
def test_the_first_attempt_of_a_probing_request_is_the_probe(
    start: StartAttempt, number: int, reason: Reason | None
) -> None:
    """However it ends; the second one is at another backend."""
    attempt = start(number=number)
    attempt = replace(attempt, assignment=replace(attempt.assignment, probe=True))
    verdict = None if reason is None else judge_reason(reason)
    outcome = conclude(attempt, now=attempt.started + 1, status=None, final=True, verdict=verdict)
    assert observe(outcome, now=0.0).probe is (number == 1)


@pytest.mark.parametrize("reason", Reason)
def test_only_what_the_next_request_would_meet_is_a_failure(outcome: Outcome, reason: Reason) -> None:
    """Client cancels, refusals and other 4xx never are."""
    neutral = {
        *(Reason.NOT_FOUND, Reason.CONTEXT_LENGTH, Reason.CONTENT_FILTER, Reason.REFUSED, Reason.UNSUPPORTED),
        *(Reason.GATEWAY, Reason.DEADLINE, Reason.CLIENT_GONE, Reason.INTERRUPTED),
    }
    seen = observe(replace(outcome, verdict=judge_reason(reason), retry_after="3"), now=0.0)
    if reason in neutral:
        assert (seen.result, seen.retry_after) == (Result.NEUTRAL, None)
    else:
        assert (seen.result, seen.reason, seen.retry_after) == (Result.FAILURE, reason.value, 3.0)


def test_a_lost_connection_is_a_failure_when_somebody_else_is_asked(outcome: Outcome, start: StartAttempt) -> None:
    """Until then it may be the client that left."""
    silent = replace(outcome, verdict=judge_reason(Reason.RESET), abandoned=True)
    assert observe(silent, now=0.0).result is Result.NEUTRAL
    following = replace(start(number=2), broken_off="first")
    seen = observe_broken_off(following)
    assert seen is not None
    assert (seen.backend, seen.result, seen.reason, seen.probe) == ("first", Result.FAILURE, "reset", False)
    assert observe_broken_off(start(number=2)) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param(None, None, id="none"),
        pytest.param("12", 12.0, id="seconds"),
        pytest.param("0.5", 0.5, id="fraction"),
        pytest.param("Thu, 01 Jan 1970 00:01:40 GMT", 40.0, id="date"),
        pytest.param("Thu, 01 Jan 1970 00:00:10 GMT", None, id="past"),
        pytest.param("-3", None, id="negative"),
        pytest.param("inf", None, id="infinite"),
        pytest.param("nan", None, id="not-a-number"),
        pytest.param("soon", None, id="word"),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    """RFC 9110, 10.2.3."""
    assert retry_after_seconds(value, now=60.0) == seconds
