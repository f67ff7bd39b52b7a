"""Which calls count for an experiment: never more of one variant's than of the other's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from extproc.routing.decision import Decision
from extproc.routing.health import BackendState, Circuit
from tests.unit.routing.conftest import States, compiled, decided, facts_of, plan

CONFIG = """
backends:
  old: {{provider: custom, url: "http://old.test"}}
  new: {{provider: custom, url: "http://new.test", capabilities: {{vision: false}}}}
  spare: {{provider: custom, url: "http://spare.test"}}
routes:
  r:
    models: [m]
    defaultBackend: {{name: old}}
    fallback: {{backends: [spare]}}
    experiments: [{{name: x, control: old, treatment: new, trafficPercent: {percent}}}]
    {more}
"""
IMAGE = {
    "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://i.test/x.png"}}]}]
}


def drawn(
    percent: int,
    body: Mapping[str, Any] | None = None,
    *,
    more: str = "",
    circuits: Mapping[str, Circuit] | None = None,
) -> Decision:
    """What is decided about a call, with everybody in one variant."""
    states = States(known={name: BackendState(circuit=circuit) for name, circuit in (circuits or {}).items()})
    return decided(compiled(CONFIG.format(percent=percent, more=more)), facts_of(body), states)


@pytest.mark.parametrize(
    ("percent", "planned", "tag"),
    [
        pytest.param(0, ["old", "spare"], "x=control", id="control"),
        pytest.param(100, ["new", "old", "spare"], "x=treatment", id="treatment"),
    ],
)
def test_a_call_that_both_could_serve_counts(percent: int, planned: list[str], tag: str) -> None:
    """The variant's backend stands first; who stood there before comes next."""
    found = drawn(percent)
    assert (plan(found), found.experiments) == (planned, (tag,))


@pytest.mark.parametrize("percent", [0, 100])
def test_a_call_that_one_of_the_two_cannot_serve_counts_for_neither(percent: int) -> None:
    """Else the control's calls would have images and the treatment's none."""
    found = drawn(percent, IMAGE)
    assert (plan(found), found.experiments) == (["old", "spare"], ())
    assert [one.hindrance for one in found.assigned] == ["new lacks images"]


@pytest.mark.parametrize(
    ("more", "planned"),
    [
        pytest.param("rules: [{backends: [{name: old}, {name: new, weight: 0}]}]", ["old", "spare"], id="treatment"),
        pytest.param("rules: [{backends: [{name: old, weight: 0}, {name: new}]}]", ["new", "spare"], id="control"),
    ],
)
@pytest.mark.parametrize("percent", [0, 100])
def test_a_drained_variant_is_not_asked_and_nothing_counts(percent: int, more: str, planned: list[str]) -> None:
    """Weight 0 is stronger than an experiment."""
    found = drawn(percent, more=more)
    assert (plan(found), found.experiments) == (planned, ())
    assert [str(one.hindrance).partition(" ")[2] for one in found.assigned] == ["is drained: its weight is 0"]


@pytest.mark.parametrize(
    ("percent", "circuits", "planned"),
    [
        pytest.param(0, {"new": Circuit.OPEN}, ["old", "spare"], id="control"),
        pytest.param(100, {"new": Circuit.OPEN}, ["old", "spare", "new"], id="treatment-is-down"),
        pytest.param(100, {"new": Circuit.HALF_OPEN}, ["new", "old", "spare"], id="treatment-is-probed"),
        pytest.param(100, {"old": Circuit.OPEN}, ["new", "spare", "old"], id="control-is-down"),
    ],
)
def test_while_a_circuit_is_not_closed_nothing_counts(
    percent: int, circuits: Mapping[str, Circuit], planned: list[str]
) -> None:
    """An outage of one variant is not the other's better hour."""
    found = drawn(percent, circuits=circuits)
    assert (plan(found), found.experiments) == (planned, ())
    assert ["has a circuit that is" in str(one.hindrance) for one in found.assigned] == [True]


def test_calls_that_go_elsewhere_are_no_part_of_it() -> None:
    """Here to a backend that is neither control nor treatment."""
    found = drawn(100, more="rules: [{backends: [{name: spare}]}]")
    assert (plan(found), found.assigned) == (["spare"], ())


@pytest.mark.parametrize("percent", [0, 100])
def test_a_rule_that_leads_to_an_experiment_may_use_both(percent: int) -> None:
    """The other variant's backend follows when the first fails."""
    first, second = ("new", "old") if percent else ("old", "new")
    assert plan(drawn(percent, more="rules: [{experiment: x}]")) == [first, second, "spare"]


def test_a_route_knows_the_backends_that_only_an_experiment_asks() -> None:
    """By them the price check, the banner and Envoy's limits know whom it may ask, and how many in a row."""
    route = compiled(CONFIG.format(percent=50, more="")).route("m")
    assert route is not None
    assert [target.backend for target in route.targets] == ["old", "spare", "new"]
    assert route.longest_plan == len(plan(drawn(100))) == 3
