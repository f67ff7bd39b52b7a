"""What a worker makes of what the keeper tells: one probe for one request, in its time."""

from __future__ import annotations

import time
from dataclasses import asdict

import pytest

from extproc.routing.health import BackendState, Circuit
from extproc.server.board_link import BoardLink
from extproc.server.control import Known, Seen


@pytest.fixture
def told() -> list[Seen]:
    """What the keeper hears."""
    return []


@pytest.fixture
def link(told: list[Seen]) -> BoardLink:
    """It may probe ``a`` for a minute; the time for ``late`` is over."""
    link = BoardLink(told.append)
    now = time.time()
    states = {
        "a": BackendState(circuit=Circuit.HALF_OPEN, probe_until=now + 60),
        "late": BackendState(circuit=Circuit.HALF_OPEN, probe_until=now - 0.001),
    }
    link.known(Known(states={name: asdict(state) for name, state in states.items()}))
    return link


def test_a_probe_is_for_the_first_that_takes_it(link: BoardLink, told: list[Seen]) -> None:
    """The keeper hears of it at once."""
    assert link.state("a").available
    assert link.planned("a")
    assert not link.state("a").available
    assert not link.planned("a")
    assert [seen.probes for seen in told] == [["a"]]


def test_a_probe_is_over_when_its_time_is(link: BoardLink, told: list[Seen]) -> None:
    """Another worker may have it by then."""
    assert not link.state("late").available
    assert not link.planned("late")
    assert told == []


def test_a_probe_that_goes_nowhere_is_given_back(link: BoardLink, told: list[Seen]) -> None:
    """And it is the keeper who gives it again."""
    link.planned("a")
    link.dropped("a")
    (fields,) = told[-1].observations
    assert (fields["backend"], fields["result"], fields["probe"]) == ("a", "neutral", True)
    assert not link.state("a").available


def test_a_plan_that_begins_with_a_backend_that_is_well_is_no_probe(link: BoardLink, told: list[Seen]) -> None:
    """Nobody has to hear of it."""
    assert not link.planned("b")
    assert told == []
