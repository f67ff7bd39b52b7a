"""Streamed answers that share a budget, through their allowances: nothing is lost between asking and ending."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from extproc.dialects.base import StreamState
from extproc.exchange.allowance import Allowance
from extproc.exchange.attempt import Attempt
from extproc.metering.measured import count_produced
from extproc.openai.produced import Produced

FIRST = 10
EVENTS = [" word", " a", " supercalifragilistic", "日本語", " two words", "\n- naïve"]


class Answer:
    """One that is said word by word; ``budget`` is asked for more, and what it gives is the answer's."""

    def __init__(self, attempt: Attempt, budget: Callable[[int], bool]) -> None:
        self.attempt = attempt
        self.state = StreamState()
        self.allowance = Allowance(attempt, FIRST)
        self.granted = FIRST
        self.ended = False
        self._budget = budget

    @property
    def said(self) -> int:
        """In tokens."""
        return count_produced(self.state.produced, self.attempt.model)

    def say(self, word: str) -> None:
        """An event."""
        if self.ended:
            return
        self.state.produced.add(word)
        lacking = self.allowance.lacking(self.state)
        if not lacking:
            return
        if self._budget(lacking):
            self.allowance.grant(lacking)
            self.granted += lacking
        else:
            self.ended = self.allowance.refuse()


@pytest.fixture
def attempt(start: Callable[..., Attempt]) -> Attempt:
    """A stream for a model whose vocabulary is known."""
    begun = start(stream=True)
    settings = begun.target.settings.model_copy(update={"model": "gpt-4o"})
    return replace(begun, target=replace(begun.target, settings=settings))


@given(
    answers=st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 400)), min_size=1, max_size=5),
    budget=st.integers(0, 2_000),
)
@hypothesis.settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_answers_together_say_no_more_than_they_were_granted(
    attempt: Attempt, answers: list[tuple[str, int]], budget: int
) -> None:
    """Each in events of one size, of which the first always comes; and none ends that was granted all of it."""
    left = [budget]

    def take(tokens: int) -> bool:
        granted = tokens <= left[0]
        left[0] -= tokens if granted else 0
        return granted

    saying = [(Answer(attempt, take), event, events) for event, events in answers]
    for turn in range(max(events for _, events in answers)):
        for answer, event, events in saying:
            if turn < events:
                answer.say(event)
    for answer, event, events in saying:
        assert answer.said <= max(answer.granted, _tokens(attempt, event))
        whole = _tokens(attempt, event * events)
        assert answer.said == whole or (answer.ended and answer.granted < whole + _tokens(attempt, event))


def _tokens(attempt: Attempt, text: str) -> int:
    produced = Produced()
    produced.add(text)
    return count_produced(produced, attempt.model)


def test_an_answer_that_is_refused_gets_what_it_was_granted(attempt: Attempt) -> None:
    """It asks before the end, and once more at it; then it is over, to the last token."""
    asked: list[int] = []

    def refuse(tokens: int) -> bool:
        asked.append(tokens)
        return False

    answer = Answer(attempt, refuse)
    while not answer.ended:
        answer.say(" word")
    assert answer.said == FIRST
    assert len(asked) == 2


def test_an_answer_goes_on_when_there_is_room_again(attempt: Attempt) -> None:
    """Others have ended meanwhile, with less than they held."""
    grants = iter([False, True])
    answer = Answer(attempt, lambda _: next(grants, True))
    for _ in range(500):
        answer.say(" word")
    assert not answer.ended
    assert answer.said == 500


def test_a_long_answer_asks_and_counts_seldom(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is: counting takes longer, the longer it has become."""
    counts = [0]
    asked: list[int] = []

    def counted(*arguments: object) -> int:
        counts[0] += 1
        return count_produced(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("extproc.exchange.allowance.count_produced", counted)

    def take(tokens: int) -> bool:
        asked.append(tokens)
        return True

    answer = Answer(attempt, take)
    for _ in range(4_000):
        answer.say(" word")
    assert not answer.ended
    assert asked == sorted(asked)
    assert len(asked) < 12
    assert counts[0] < 100
