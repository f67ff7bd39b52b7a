"""What counts as a surprise, and what is a fact."""

from __future__ import annotations

from dataclasses import replace

import pytest

from extproc.selftest.client import Ending, Seen, read_stream, read_whole
from extproc.selftest.fault import Promise
from extproc.selftest.verdict import Flapping, Situation, judge, judge_flapping, judge_need

BY_NEXT = Seen(ending=Ending.ANSWER, status=200, backend="b", trail=("a=timeout",))
BY_VICTIM = Seen(ending=Ending.ANSWER, status=200, backend="a")
ERROR = Seen(ending=Ending.ERROR, status=503, code="overloaded")
EVENT = Seen(ending=Ending.ERROR_EVENT, status=200, backend="a")
CUT = Seen(ending=Ending.CUT, status=200, backend="a")
HANG = Seen(ending=Ending.HANG)
UNTRUE = Seen(ending=Ending.UNTRUE, status=200, backend="a")
VICTIM = Situation(promise=Promise.MOVES, victim="a", asked=("a",), left=True, retries=1)


@pytest.mark.parametrize(
    ("promise", "seen", "note"),
    [
        pytest.param(Promise.MOVES, BY_NEXT, None, id="moved"),
        pytest.param(Promise.MOVES, BY_VICTIM, "through its fault", id="moved not"),
        pytest.param(Promise.MOVES, ERROR, "was not asked", id="error with a backend left"),
        pytest.param(Promise.MOVES, EVENT, "expected an answer or an error", id="begun and broken"),
        pytest.param(Promise.MOVES, HANG, "never came to an end", id="hang"),
        pytest.param(Promise.ANSWERS, BY_VICTIM, None, id="answered"),
        pytest.param(Promise.ANSWERS, BY_NEXT, "a was well but b answered", id="answered by another"),
        pytest.param(Promise.ANSWERS, ERROR, "no answer", id="not answered"),
        pytest.param(Promise.RECOVERS, BY_VICTIM, None, id="recovered"),
        pytest.param(Promise.RECOVERS, BY_NEXT, "second try", id="no second try"),
        pytest.param(Promise.STAYS, ERROR, None, id="refused"),
        pytest.param(Promise.STAYS, BY_NEXT, "expected the provider's refusal", id="refusal went on"),
        pytest.param(Promise.BREAKS, EVENT, None, id="broken and told"),
        pytest.param(Promise.BREAKS, CUT, "error event", id="broken and not told"),
        pytest.param(Promise.BREAKS, UNTRUE, "does not say that it failed", id="broken and denied"),
        pytest.param(Promise.BREAKS, BY_NEXT, "error event", id="broken and answered twice"),
        pytest.param(Promise.CUTS, CUT, None, id="reset is passed on"),
        pytest.param(Promise.CUTS, BY_VICTIM, "cut connection", id="reset is hidden"),
    ],
)
def test_verdict(promise: Promise, seen: Seen, note: str | None) -> None:
    """Each promise, kept and broken."""
    verdict = judge(seen, replace(VICTIM, promise=promise))
    assert verdict.surprise is (note is not None)
    assert (note or "") in verdict.note


def test_nobody_left_is_a_fact() -> None:
    """A route without a fallback does what the table says."""
    verdict = judge(ERROR, replace(VICTIM, left=False))
    assert not verdict.surprise
    assert "no further backend" in verdict.note


def test_second_try_is_not_expected_where_there_is_none() -> None:
    """`perBackend: 0` makes the next backend the second try."""
    assert not judge(BY_NEXT, replace(VICTIM, promise=Promise.RECOVERS, retries=0)).surprise


def test_a_refusal_that_asks_others_is_a_surprise() -> None:
    """Also when they refuse, too."""
    verdict = judge(ERROR, replace(VICTIM, promise=Promise.STAYS, asked=("a", "b")))
    assert verdict.note == "a refusal went on to b"


def test_a_total_before_the_fallback_is_named() -> None:
    """The operator learns which key it is."""
    verdict = judge(ERROR, replace(VICTIM, waited_ms=60_000, total_ms=30_000))
    assert verdict.surprise
    assert "timeouts.total ends the request (30 s), before silence is left (60 s)" in verdict.note


def test_a_fallback_that_comes_too_late_is_a_surprise() -> None:
    """Nobody is there any more to hear its answer."""
    verdict = judge(BY_NEXT, replace(VICTIM, waited_ms=3_600_000))
    assert verdict.note == "it moves on only after 60 min: clients have given up by then"
    assert not judge(BY_NEXT, replace(VICTIM, waited_ms=600_000)).surprise


@pytest.mark.parametrize("promise", Promise)
def test_a_visible_credential_is_always_a_surprise(promise: Promise) -> None:
    """Whatever else is in order."""
    for seen in (BY_NEXT, BY_VICTIM, ERROR, EVENT, CUT):
        assert "credential" in judge(replace(seen, leaked=True), replace(VICTIM, promise=promise)).note


def test_need_that_only_one_backend_meets() -> None:
    """The fallback is none for such calls; where nobody takes them, that is a fact."""
    assert judge_need("tools", BY_VICTIM, ERROR, "a").surprise
    assert not judge_need("tools", BY_VICTIM, BY_NEXT, "a").surprise
    assert not judge_need("tools", ERROR, ERROR, "a").surprise


FLAPPING = Flapping(backend="a", enabled=True, others=True, unanswered=0, failures=5, opened=True, back_seconds=1.3)


@pytest.mark.parametrize(
    ("flapping", "surprise", "note"),
    [
        pytest.param(FLAPPING, False, "open after 5 calls, closed 1.3 s after recovery", id="opens and closes"),
        pytest.param(replace(FLAPPING, unanswered=2), True, "2 calls had no answer", id="clients wait"),
        pytest.param(replace(FLAPPING, back_seconds=None), True, "did not close", id="stays open"),
        pytest.param(replace(FLAPPING, enabled=False, opened=False), False, "is off", id="off"),
        pytest.param(replace(FLAPPING, opened=False), False, "did not open in 5 calls", id="patient"),
        pytest.param(replace(FLAPPING, others=False, unanswered=5), False, "no further backend", id="alone"),
    ],
)
def test_flapping(flapping: Flapping, surprise: bool, note: str) -> None:
    """Open and half-open, as a client notices them."""
    verdict = judge_flapping(flapping)
    assert verdict.surprise is surprise
    assert note in verdict.note


CHUNK = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n'
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
BROKEN = b'data: {"error":{"message":"m","type":"t","code":"stream_truncated"}}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("body", "ending"),
    [
        pytest.param(CHUNK + LAST + DONE, Ending.ANSWER, id="whole"),
        pytest.param(CHUNK + BROKEN, Ending.ERROR_EVENT, id="says so"),
        pytest.param(CHUNK + BROKEN + DONE, Ending.UNTRUE, id="says both"),
        pytest.param(CHUNK + DONE, Ending.UNTRUE, id="done without an end"),
        pytest.param(CHUNK + LAST, Ending.UNTRUE, id="not done"),
        pytest.param(CHUNK, Ending.UNTRUE, id="silent end"),
        pytest.param(b"data: {\n\n", Ending.UNTRUE, id="garbage"),
        pytest.param(b"", Ending.UNTRUE, id="nothing"),
    ],
)
def test_truth_of_a_stream(body: bytes, ending: Ending) -> None:
    """Judged by the bytes alone, as clients must."""
    assert read_stream(body)[0] is ending


@pytest.mark.parametrize(
    ("status", "body", "ending"),
    [
        pytest.param(200, b'{"choices":[{}]}', Ending.ANSWER, id="chat"),
        pytest.param(200, b'{"data":[{}]}', Ending.ANSWER, id="embedding"),
        pytest.param(200, b'{"error":{"message":"m","type":"t"}}', Ending.UNTRUE, id="error as success"),
        pytest.param(503, b'{"error":{"message":"m","type":"t"}}', Ending.ERROR, id="error"),
        pytest.param(503, b"upstream connect error", Ending.UNTRUE, id="not ours"),
        pytest.param(502, b'{"detail":"m"}', Ending.UNTRUE, id="of another shape"),
    ],
)
def test_truth_of_a_whole_reply(status: int, body: bytes, ending: Ending) -> None:
    """An error has OpenAI's shape and an error's status."""
    assert read_whole(status, body)[0] is ending
