"""Who has the fault is told by the order of asking, whatever order the gateway decides on."""

from __future__ import annotations

import orjson
import pytest

from extproc.selftest.asking import CHAT, COMPLETIONS, EMBEDDINGS, NEEDS, Ask, backends_of, example_of
from extproc.selftest.fault import DOWN, HEALTHY, WALL, Act
from extproc.selftest.scenario import Scenario, Scenarios

CUT = next(fault for fault in WALL if fault.act is Act.CUT)
ONCE = next(fault for fault in WALL if fault.act is Act.STATUS_ONCE)


def test_the_first_that_are_asked_are_down_and_the_next_has_the_fault() -> None:
    """Also when one is asked again; the others are well."""
    scenario = Scenario(fault=CUT, down=1)
    assert [scenario.ask(backend) for backend in ("b", "b", "a", "a", "c")] == [DOWN, DOWN, CUT, CUT, HEALTHY]
    assert scenario.victim == "a"
    assert scenario.tried == ("b", "a", "c")


def test_once_is_once() -> None:
    """The second try of the same backend succeeds."""
    scenario = Scenario(fault=ONCE)
    assert [scenario.ask("a"), scenario.ask("a")] == [ONCE, HEALTHY]


def test_nobody_was_asked_that_far() -> None:
    """Then nobody had the fault."""
    scenario = Scenario(fault=CUT, down=1)
    scenario.ask("a")
    assert scenario.victim is None


@pytest.mark.parametrize("feature", NEEDS)
def test_every_call_carries_its_mark(feature: str) -> None:
    """One number is not taken for the beginning of another."""
    scenarios = Scenarios()
    known = [Scenario(fault=HEALTHY) for _ in range(12)]
    prompts = [scenarios.add(scenario) for scenario in known]
    for scenario, prompt in zip(known, prompts, strict=True):
        for asked in (
            *(
                Ask(operation=operation).body("m", prompt, stream=False)
                for operation in (CHAT, COMPLETIONS, EMBEDDINGS)
            ),
            Ask(uses=(feature,), words=3).body("m", prompt, stream=True),
        ):
            assert scenarios.find(orjson.dumps(asked)) is scenario
    assert scenarios.find(b"{}") is None
    assert scenarios.find(b"kortex-selftest-99") is None


def test_names_and_backends_of_a_route() -> None:
    """A glob by an example; rules name backends, too."""
    assert example_of("openai/gpt-?*") == "openai/gpt-xselftest"
    route = {
        "defaultBackend": {"name": "a"},
        "rules": [{"backends": [{"name": "b"}, {"name": "a"}]}, {"refuse": {}}],
        "fallback": {"backends": ["c"]},
    }
    assert backends_of(route) == ("a", "b", "c")
