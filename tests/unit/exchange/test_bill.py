"""Which attempts have a bill, and whose word it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import orjson
import pytest

from extproc.exchange.assignment import read_assignment
from extproc.exchange.attempt import Attempt
from extproc.exchange.outcome import Outcome
from extproc.exchange.reply import Reply
from extproc.exchange.steps import Body
from extproc.exchange.verdict import Reason
from extproc.headers import COST, LOCAL_REPLY, USAGE, Headers
from extproc.metering.cost import Cost
from extproc.metering.measured import UsageSource
from extproc.openai.call import Operation
from extproc.openai.usage import Usage

StartAttempt = Callable[..., Attempt]
STREAM = "text/event-stream"
USAGE_OBJECT = {"prompt_tokens": 1_000, "completion_tokens": 500, "prompt_tokens_details": {"cached_tokens": 400}}


def event(content: str = "hello world", finish: str | None = None, **fields: object) -> bytes:
    """One chunk."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return b"data: " + orjson.dumps({"model": "gpt-4o-2024-08-06", "choices": [choice], **fields}) + b"\n\n"


def head(status: int = 200, kind: str = "application/json", *more: tuple[str, str]) -> Headers:
    """A provider's reply headers."""
    return Headers([(":status", str(status)), ("content-type", kind), *more])


@pytest.fixture
def begin(start: StartAttempt) -> StartAttempt:
    """An attempt whose prompt was estimated at 40 tokens on arrival."""

    def with_estimate(**fields: object) -> Attempt:
        attempt = start(**fields)
        return replace(attempt, assignment=replace(attempt.assignment, input_tokens=40))

    return with_estimate


def ended(reply: Reply) -> Outcome:
    """What is recorded."""
    assert reply.outcome is not None
    return reply.outcome


def test_estimate_travels_to_the_attempt(begin: StartAttempt) -> None:
    """Any worker may serve it."""
    assignment = begin().assignment
    assert read_assignment(assignment.to_header().decode()).input_tokens == 40


@pytest.mark.parametrize(
    ("status", "local", "body", "source"),
    [
        (500, None, b"{}", UsageSource.NONE),
        (429, None, b"{}", UsageSource.NONE),
        (504, None, b"{}", UsageSource.NONE),
        (400, None, b'{"error":{"message":"m","code":"context_length_exceeded"}}', UsageSource.NONE),
        (302, None, b"", UsageSource.NONE),
        (503, "upstream_reset_before_response_started{connection_failure}", b"", UsageSource.NONE),
        (503, "upstream_reset_before_response_started", b"", UsageSource.NONE),
        (504, "response_timeout", b"", UsageSource.ESTIMATED),
        (200, None, b"no json", UsageSource.ESTIMATED),
        (200, None, b'{"error":{"message":"overloaded","type":"server_error"}}', UsageSource.NONE),
    ],
)
def test_failure_is_billed_when_the_provider_was_at_work(
    begin: StartAttempt, status: int, local: str | None, body: bytes, source: UsageSource
) -> None:
    """Refusals are nobody's bill; a garbled answer was made all the same, and so may one that was too late."""
    reply = Reply(begin())
    more = () if local is None else ((LOCAL_REPLY, local),)
    reply.headers(head(status, "application/json", *more), end=False, now=101.0)
    reply.body(body, end=True, now=101.0)
    outcome = ended(reply)
    assert outcome.reason is not None
    assert outcome.usage_source is source
    assert (outcome.usage is None) is (source is UsageSource.NONE)
    if outcome.usage is not None:
        assert outcome.usage.input == 40


def test_nothing_is_billed_when_nothing_was_sent(begin: StartAttempt) -> None:
    """The client left before its request was written for the provider."""
    for sent, source in ((False, UsageSource.NONE), (True, UsageSource.ESTIMATED)):
        reply = Reply(begin())
        reply.abandon(101.0, sent=sent)
        assert (ended(reply).reason, ended(reply).usage_source) == (Reason.CLIENT_GONE, source)


def test_nothing_is_billed_when_a_failure_is_cut_short(begin: StartAttempt) -> None:
    """Its status had said enough."""
    reply = Reply(begin())
    reply.headers(head(500), end=False, now=101.0)
    reply.abandon(101.5)
    assert ended(reply).usage_source is UsageSource.NONE


@pytest.mark.parametrize("reason", [Reason.IDLE, Reason.DEADLINE])
def test_stalled_stream_is_billed_as_far_as_it_came(begin: StartAttempt, reason: Reason) -> None:
    """Two tokens each time."""
    reply = Reply(begin(stream=True))
    reply.headers(head(kind=STREAM), end=False, now=101.0)
    reply.body(event("hello") + event(" world"), end=False, now=101.0)
    reply.expire(reason, 103.0)
    assert ended(reply).usage == Usage(input=40, output=2)
    assert ended(reply).usage_source is UsageSource.ESTIMATED


def test_stream_that_breaks_after_its_usage_keeps_what_was_told(begin: StartAttempt) -> None:
    """Only the end is missing."""
    reply = Reply(begin(stream=True))
    reply.headers(head(kind=STREAM), end=False, now=101.0)
    reply.body(event() + event(usage=USAGE_OBJECT), end=True, now=101.0)
    assert ended(reply).reason is Reason.TRUNCATED
    assert ended(reply).usage == Usage(input=1_000, output=500, cached_input=400)
    assert ended(reply).usage_source is UsageSource.ESTIMATED


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(lambda reply: reply.abandon(101.5), id="client-left"),
        pytest.param(lambda reply: reply.crash(101.5), id="broken"),
        pytest.param(lambda reply: reply.expire(Reason.IDLE, 103.0), id="lingers"),
        pytest.param(lambda reply: reply.body(b"\n\xff: no event", end=True, now=102.0), id="noise"),
    ],
)
def test_bill_that_the_client_has_is_not_changed_by_what_follows(
    begin: StartAttempt, happens: Callable[[Reply], list[Body] | None]
) -> None:
    """It has read ``[DONE]``: nothing is estimated any more, and no error is told."""
    reply = Reply(begin(stream=True))
    reply.headers(head(kind=STREAM), end=False, now=101.0)
    reply.body(event(finish="stop", usage=USAGE_OBJECT) + b"data: [DONE]\n\n", end=False, now=101.0)
    for step in happens(reply) or ():
        assert (step.data, step.end) == (b"", True)
    assert (ended(reply).reason, ended(reply).final) == (None, True)
    assert ended(reply).usage_source is UsageSource.REPORTED


@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.EMBEDDINGS])
def test_cut_answer_is_counted_by_what_came(begin: StartAttempt, operation: Operation) -> None:
    """Vectors are no tokens."""
    reply = Reply(begin(operation=operation))
    reply.headers(head(), end=False, now=101.0)
    reply.body(b'{"choices":[{"message":{"content":"Hello there, my friend', end=False, now=101.0)
    reply.abandon(101.5)
    usage = ended(reply).usage
    assert usage is not None
    assert usage.input == 40
    assert (usage.output > 5) is (operation is Operation.CHAT)


def test_price_is_that_of_the_model_that_served(begin: StartAttempt) -> None:
    """By the name in the reply, and by the configured one where that has none."""
    attempt = begin()
    listed = replace(
        attempt, target=replace(attempt.target, provider=replace(attempt.target.provider, price_list="openai"))
    )
    costs = {}
    for served in ("gpt-4o-2024-08-06", "gpt-4o-mini", "heard-of-by-nobody"):
        reply = Reply(
            replace(
                listed,
                target=replace(listed.target, settings=listed.target.settings.model_copy(update={"model": "gpt-4o"})),
            )
        )
        body = orjson.dumps({"model": served, "choices": [], "usage": USAGE_OBJECT})
        reply.headers(head(), end=False, now=101.0)
        steps = reply.body(body, end=True, now=101.0)
        fields = dict(steps[0].set_headers) if not isinstance(steps[0], Body) else {}
        costs[served] = fields[COST]
        assert fields[USAGE] == "input=1000, output=500, cached_input=400, source=reported"
        assert str(ended(reply).cost) == fields[COST]
    assert costs == {
        "gpt-4o-2024-08-06": "0.007 USD",
        "gpt-4o-mini": "0.00042 USD",
        "heard-of-by-nobody": "0.007 USD",
    }


def test_no_price_is_no_cost(begin: StartAttempt) -> None:
    """Tokens all the same."""
    reply = Reply(begin())
    reply.headers(head(), end=False, now=101.0)
    steps = reply.body(orjson.dumps({"model": "m", "choices": [], "usage": USAGE_OBJECT}), end=True, now=101.0)
    assert not isinstance(steps[0], Body)
    fields = dict(steps[0].set_headers)
    assert USAGE in fields
    assert COST not in fields
    assert ended(reply).cost is None


def test_usage_chunk_has_all_digits_of_the_cost(begin: StartAttempt) -> None:
    """As a number, with no exponent, beside what the provider wrote; on every chunk that has a usage."""
    attempt = begin(stream=True, include_usage=True)
    cost = {"inputTokenCost": "0.000000001", "outputTokenCost": "0", "currency": "EUR"}
    settings = type(attempt.target.settings).model_validate(
        {"provider": "custom", "url": "http://first.test/v1", "cost": cost}
    )
    reply = Reply(replace(attempt, target=replace(attempt.target, settings=settings)))
    reply.headers(head(kind=STREAM), end=False, now=101.0)
    steps = reply.body(
        event(finish="stop") + event(choices=[], usage={**USAGE_OBJECT, "other": 1}) + b"data: [DONE]\n\n",
        end=True,
        now=101.0,
    )
    sent = b"".join(step.data for step in steps if isinstance(step, Body))
    assert b'"other":1,"cost":0.000000001,"cost_currency":"EUR"}' in sent
    assert ended(reply).cost == Cost(amount=Decimal("0.000000001"), currency="EUR")
