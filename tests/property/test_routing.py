"""Routing, whatever the weights, units and states: shares are kept, units stay, and somebody is always asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import sqrt
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.admission.caller import ANONYMOUS
from extproc.config.load import load
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.headers import Headers
from extproc.openai.call import OPERATION_PATHS, read_call
from extproc.providers.registry import PROVIDERS, SETTINGS
from extproc.routing.chance import arrival, share
from extproc.routing.decision import Decision, decide
from extproc.routing.facts import Facts
from extproc.routing.health import NOTHING_SEEN, BackendState, BackendStates, Circuit
from tests.unit.routing.conftest import States

NAMES = ("a", "b", "c", "d", "e")
STRATEGIES = ("weighted", "priority", "cheapest", "fastest", "leastBusy", "smallestFit")
_HALF_A_SECOND = settings(max_examples=25)

weights = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 1_000), min_size=1)
units = st.text(max_size=20)
states = st.builds(
    States,
    known=st.dictionaries(
        st.sampled_from(NAMES),
        st.builds(
            BackendState,
            circuit=st.sampled_from(Circuit),
            first_token_ms=st.none() | st.floats(0, 1e6),
            tokens_per_second=st.none() | st.floats(0, 1e4),
            in_flight=st.integers(0, 1_000),
        ),
    ),
)


def compiled(split: Mapping[str, int], *, strategy: str = "weighted", fallback: tuple[str, ...] = ("e",)) -> Snapshot:
    """A route that splits all calls so."""
    backends = {
        name: {"provider": "custom", "url": f"http://{name}.test/v1", "contextWindow": 1_000 * index}
        for index, name in enumerate(NAMES, start=1)
    }
    rule = {"backends": [{"name": name, "weight": weight} for name, weight in split.items()], "strategy": strategy}
    route: dict[str, Any] = {"models": ["*"], "defaultBackend": {"name": "a"}, "rules": [rule]}
    if fallback:
        route["fallback"] = {"backends": list(fallback)}
    config = load(orjson.dumps({"backends": backends, "routes": {"r": route}}), SETTINGS).config
    credentials = {name: (lambda: None) for name in NAMES}
    return compile_snapshot(config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials=credentials)


def facts_of(id: str, **fields: Any) -> Facts:  # noqa: A002 - the field's name
    """A chat."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    call, parsed = read_call(OPERATION_PATHS["/v1/chat/completions"], orjson.dumps(body))
    return Facts(
        id=id,
        call=call,
        fields=parsed,
        headers=Headers(),
        caller=ANONYMOUS,
        arrived=0.0,
        upstream_model="m",
        counted_as="m",
    )


def decision(snapshot: Snapshot, facts: Facts, known: BackendStates = NOTHING_SEEN) -> Decision:
    """Where the call goes."""
    route = snapshot.route("m")
    assert route is not None
    return decide(facts, route, known)


def first(split: Mapping[str, int], unit: str) -> str:
    """Who wins the race over a unit."""
    return min(split, key=lambda name: arrival(unit, name, split[name]))


@given(split=weights, salt=units)
@_HALF_A_SECOND
def test_a_split_keeps_the_shares_of_its_weights(split: dict[str, int], salt: str) -> None:
    """Within five standard deviations: a wrong share is found, chance is not."""
    draws = 2_000
    counted = Counter(first(split, f"{salt}{number}") for number in range(draws))
    total = sum(split.values())
    for name, weight in split.items():
        expected = weight / total
        assert abs(counted[name] - draws * expected) <= 5 * sqrt(draws * expected * (1 - expected)) + 1


@given(split=weights.filter(lambda split: len(split) > 1), salt=units, data=st.data())
@_HALF_A_SECOND
def test_units_move_only_to_or_from_the_backend_that_joins_or_leaves(
    split: dict[str, int], salt: str, data: st.DataObject
) -> None:
    """And so does one whose weight grows: it only takes, and only its share."""
    name = data.draw(st.sampled_from(sorted(split)))
    without = {other: weight for other, weight in split.items() if other != name}
    grown = {**split, name: split[name] + 1}
    for number in range(300):
        unit = f"{salt}{number}"
        before = first(split, unit)
        assert first(without, unit) == before or before == name
        assert first(grown, unit) in {before, name}


@given(split=weights, unit=units, other=units)
@_HALF_A_SECOND
def test_shares_are_uniform_and_salts_independent(split: dict[str, int], unit: str, other: str) -> None:
    """Whoever is in one rule's half is in another's by a coin's toss."""
    places = [share(f"r/{unit}", f"{other}{number}") for number in range(1_000)]
    assert 350 < sum(place < 0.5 for place in places) < 650
    both = sum(place < 0.5 and share(f"s/{unit}", f"{other}{number}") < 0.5 for number, place in enumerate(places))
    assert 150 < both < 350
    assert all(0 < place < 1 for place in places)
    assert set(split) <= set(NAMES)


@given(
    split=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 5), min_size=1),
    strategy=st.sampled_from(STRATEGIES),
    known=states,
    id=st.text(alphabet="0123456789abcdef", min_size=1, max_size=16),
    limit=st.none() | st.integers(1, 6_000),
)
@settings(max_examples=100)
def test_a_plan_names_each_backend_once_and_is_never_empty_while_somebody_may_serve(
    split: dict[str, int],
    strategy: str,
    known: States,
    id: str,  # noqa: A002 - the field's name
    limit: int | None,
) -> None:
    """A drained one is never in it, an open one never before one that is not, and the same id decides the same."""
    snapshot = compiled(split, strategy=strategy)
    fields = {} if limit is None else {"max_tokens": limit}
    found = decision(snapshot, facts_of(id, **fields), known)
    plan = [target.backend for target in found.targets]
    assert len(set(plan)) == len(plan)
    drained = {name for name, weight in split.items() if not weight}
    may_serve = {
        name
        for index, name in enumerate(NAMES, start=1)
        if name in {*split, "e"} - drained and (limit is None or limit + 20 < 1_000 * index)
    }
    assert may_serve <= set(plan)
    assert not drained & set(plan)
    available = [known.state(name).available for name in plan]
    assert available == sorted(available, reverse=True)
    again = decision(compiled(split, strategy=strategy), facts_of(id, **fields), known)
    assert [target.backend for target in again.targets] == plan
    assert again.reason == found.reason


@given(known=states)
@_HALF_A_SECOND
def test_the_fastest_is_asked_first_but_now_and_then_another_is(known: States) -> None:
    """A backend that has become fast again must be found, and finding it must not cost much."""
    measured = {name: BackendState(first_token_ms=100.0 * index) for index, name in enumerate(NAMES[:3], start=1)}
    closed = States(known={**known.known, **measured})
    snapshot = compiled(dict.fromkeys(NAMES[:3], 1), strategy="fastest", fallback=())
    firsts = Counter(decision(snapshot, facts_of(str(number)), closed).targets[0].backend for number in range(400))
    assert firsts["a"] > 340
    assert firsts["b"] > 0
    assert firsts["c"] > 0
