"""Experiments: shares are exact, a unit keeps its variant, and two experiments know nothing of each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.admission.caller import Caller
from extproc.config.load import load
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.headers import Headers
from extproc.openai.call import Call, Operation
from extproc.providers.registry import PROVIDERS, SETTINGS
from extproc.routing.decision import Decision, decide
from extproc.routing.facts import Facts
from extproc.routing.health import NOTHING_SEEN

CONFIG = """
backends:
  old: {{provider: custom, url: "http://old.test"}}
  new: {{provider: custom, url: "http://new.test"}}
  newer: {{provider: custom, url: "http://newer.test"}}
  other: {{provider: custom, url: "http://other.test"}}
routes:
  r:
    models: [m]
    experiments:
      - {{name: first, control: old, treatment: new, trafficPercent: {first}}}
      - {{name: second, control: old, treatment: newer, trafficPercent: {second}}}
    defaultBackend: {{name: old}}
    fallback: {{backends: [other]}}
"""


def compiled(first: float = 50, second: float = 50) -> Snapshot:
    """Two experiments with the same control."""
    config = load(CONFIG.format(first=first, second=second).encode(), SETTINGS).config
    credentials = dict.fromkeys(config.backends, lambda: None)
    return compile_snapshot(config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials=credentials)


def decision(snapshot: Snapshot, user: str | None, call: str = "0") -> Decision:
    """Where a user's call goes."""
    route = snapshot.route("m")
    assert route is not None
    facts = Facts(
        id=call,
        call=Call(operation=Operation.CHAT, model="m", body=b"{}"),
        fields={"messages": []},
        headers=Headers(),
        caller=Caller(user=user),
        arrived=0.0,
        counted_as="m",
        upstream_model="m",
    )
    return decide(facts, route, NOTHING_SEEN)


def drawn(snapshot: Snapshot, users: Iterable[str]) -> list[tuple[str, ...]]:
    """The tags of everything each user was drawn into."""
    return [tuple(one.tag for one in decision(snapshot, user).assigned) for user in users]


@pytest.mark.parametrize("percent", [0, 0.5, 10, 50, 99.5, 100])
def test_the_share_of_units_is_what_the_config_says(percent: float) -> None:
    """0 is nobody and 100 is everybody; in between within five standard deviations."""
    users = [f"user-{number}" for number in range(4_000)]
    treated = sum(tags[0] == "first=treatment" for tags in drawn(compiled(percent), users))
    expected = len(users) * percent / 100
    assert abs(treated - expected) <= 5 * sqrt(expected * (1 - percent / 100))


def test_experiments_are_independent() -> None:
    """Of those in one's control, the other treats its own share: the product of the shares, within bounds."""
    users = (f"user-{number}" for number in range(8_000))
    both = [tags for tags in drawn(compiled(50, 20), users) if tags[0] == "first=control"]
    treated = sum(tags[1] == "second=treatment" for tags in both)
    assert abs(treated - len(both) * 0.2) <= 5 * sqrt(len(both) * 0.2 * 0.8)


@given(
    user=st.text(min_size=1, max_size=20),
    percent=st.integers(0, 10_000).map(lambda hundredths: hundredths / 100),
    calls=st.lists(st.text(), max_size=5),
)
def test_a_unit_keeps_its_variant_and_growing_shares_take_nobody_out(
    user: str, percent: float, calls: list[str]
) -> None:
    """On every worker (each compiles for itself), for every call, and when the share grows."""
    once = decision(compiled(percent), user)
    for call in calls:
        assert decision(compiled(percent), user, call).experiments == once.experiments
    if once.assigned[0].variant == "treatment":
        assert decision(compiled(min(100.0, percent * 1.5)), user).assigned[0].variant == "treatment"


@given(user=st.text(min_size=1, max_size=20))
def test_only_a_variant_whose_backend_stands_first_counts(user: str) -> None:
    """The plan holds every backend once; where both experiments would move the call, it counts for neither."""
    made = decision(compiled(), user)
    backends = [target.backend for target in made.targets]
    assert len(backends) == len(set(backends))
    assert backends[-1] == "other"
    expected = {
        ("control", "control"): ("old", ("first=control", "second=control")),
        ("treatment", "control"): ("new", ("first=treatment",)),
        ("control", "treatment"): ("newer", ("second=treatment",)),
        ("treatment", "treatment"): ("new", ()),
    }
    first, second = made.assigned
    assert (backends[0], made.experiments) == expected[first.variant, second.variant]


def test_the_share_among_the_calls_that_count_is_the_configured_one() -> None:
    """Although another experiment takes calls away: it takes them from both variants alike."""
    snapshot = compiled(50, 20)
    counted = Counter(tag for number in range(8_000) for tag in decision(snapshot, f"user-{number}").experiments)
    for name, share in (("first", 0.5), ("second", 0.2)):
        total = counted[f"{name}=control"] + counted[f"{name}=treatment"]
        deviation = counted[f"{name}=treatment"] - total * share
        assert abs(deviation) <= 5 * sqrt(total * share * (1 - share))


def test_calls_of_nobody_are_drawn_one_by_one() -> None:
    """Each is a unit of its own."""
    snapshot = compiled()
    variants = {decision(snapshot, None, str(call)).assigned[0].variant for call in range(64)}
    assert variants == {"control", "treatment"}
    users = islice((f"user-{number}" for number in range(64)), 64)
    assert len(set(drawn(snapshot, users))) > 1
