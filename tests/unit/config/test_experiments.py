"""What `kortex check` says of experiments: each mistake with its place, and how to mend it."""

from __future__ import annotations

import pytest
import yaml
from jsonschema import Draft202012Validator

from extproc.config.load import ConfigError, load
from extproc.config.schema import json_schema
from extproc.providers.registry import SETTINGS

BACKENDS = """
backends:
  a: {provider: custom, url: "http://a.test/v1"}
  b: {provider: custom, url: "http://b.test/v1"}
"""
X = "{name: x, control: a, treatment: b}"


def config(experiments: str, more: str = "") -> str:
    """A file whose only route has these experiments."""
    return f"{BACKENDS}routes: {{r: {{models: [m], defaultBackend: {{name: a}}, experiments: [{experiments}]{more}}}}}"


def problems(text: str) -> list[str]:
    """Everything that is wrong, without what comes before the route's name."""
    with pytest.raises(ConfigError) as refusal:
        load(text.encode(), SETTINGS)
    return [str(problem).partition("routes.")[2] for problem in refusal.value.problems]


@pytest.mark.parametrize(
    ("experiments", "more", "wrong"),
    [
        pytest.param(
            "{name: x, control: a, treatment: a}",
            "",
            "r.experiments[0]: control and treatment are the same backend",
            id="one-backend",
        ),
        pytest.param(
            "{name: x, control: a, treatment: bb}",
            "",
            'r.experiments[0].treatment: there is no backend "bb", did you mean "b"?',
            id="no-such-backend",
        ),
        pytest.param(
            "{name: x, control: a, treatment: b, trafficPercent: 101}",
            "",
            "r.experiments[0].trafficPercent: must be at most 100.0",
            id="over-a-hundred",
        ),
        pytest.param(f"{X}, {X}", "", 'r.experiments[1].name: "x" stands twice in this list', id="twice"),
        pytest.param(
            X,
            ", rules: [{experiment: y}]",
            'r.rules[0].experiment: the route has no experiment "y", the route\'s experiments are x',
            id="a-rule-s-experiment",
        ),
        pytest.param(
            X,
            ", rules: [{experiment: x, backends: [{name: a}]}]",
            "r.rules[0]: give exactly one of backends, experiment and refuse",
            id="two-results",
        ),
        pytest.param(
            X,
            ", rules: [{experiment: x, strategy: cheapest}]",
            "r.rules[0].strategy: a rule that leads to an experiment has no backends for 'strategy'",
            id="nothing-to-order",
        ),
    ],
)
def test_experiments_are_refused_when_they_cannot_be_made(experiments: str, more: str, wrong: str) -> None:
    """Each would be a comparison of something else."""
    assert problems(config(experiments, more)) == [wrong]


def test_one_name_is_one_experiment_in_all_routes() -> None:
    """Its variants and reports are found by its name; the same experiment may stand in two routes."""
    other = "other: {models: [n], defaultBackend: {name: a}, experiments: [%s]}"
    text = config(X).removesuffix("}")
    load(f"{text}, {other % X}}}".encode(), SETTINGS)
    changed = other % "{name: x, control: a, treatment: b, trafficPercent: 50}"
    assert problems(f"{text}, {changed}}}") == [
        'other.experiments[0].name: "x" is already the name of routes.r.experiments[0], which is another experiment'
    ]


def test_the_schema_takes_what_load_takes() -> None:
    """For editors."""
    validator = Draft202012Validator(json_schema(SETTINGS))
    good = config("{name: x, control: a, treatment: b, unit: {header: x-team}}", ", rules: [{experiment: x}]")
    load(good.encode(), SETTINGS)
    assert validator.is_valid(yaml.safe_load(good))
    assert not validator.is_valid(yaml.safe_load(config(X, ", rules: [{experiment: x, refuse: {message: no}}]")))
