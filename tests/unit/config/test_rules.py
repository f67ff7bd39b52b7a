"""What `kortex check` says of rules: each mistake with its place, what is wrong, and how to mend it."""

from __future__ import annotations

from typing import get_args

import pytest
import yaml
from jsonschema import Draft202012Validator

from extproc.config.load import ConfigError, load
from extproc.config.matches import Operation, Path
from extproc.config.schema import json_schema
from extproc.openai import call
from extproc.providers.registry import SETTINGS

BACKENDS = """
backends:
  a: {provider: custom, url: "http://a.test/v1"}
  b: {provider: custom, url: "http://b.test/v1"}
"""
NO_LOOK_AROUND = "look-around, including look-ahead and look-behind, is not supported"


def config(rules: str, more: str = "") -> str:
    """A file whose only route has these rules."""
    return f"{BACKENDS}routes: {{r: {{models: [m], defaultBackend: {{name: a}}, rules: [{rules}]{more}}}}}"


def problems(text: str) -> list[str]:
    """Everything that is wrong, without what comes before the rule's path."""
    with pytest.raises(ConfigError) as refusal:
        load(text.encode(), SETTINGS)
    return [str(problem).partition("routes.r.")[2] for problem in refusal.value.problems]


def doubts(text: str) -> list[str]:
    """Everything that works but is hardly meant."""
    return [str(warning).partition("routes.r.")[2] for warning in load(text.encode(), SETTINGS).warnings]


@pytest.mark.parametrize(
    ("match", "wrong"),
    [
        pytest.param("{model: [m, 5]}", "model[1]: must be text, put it in quotes", id="a-model-is-a-number"),
        pytest.param("{model: other}", 'model: the route\'s models do not include "other"', id="another-routes-model"),
        pytest.param("{headers: {x-a: 5}}", "headers.x-a: must be text, put it in quotes", id="a-header-is-a-number"),
        pytest.param("{headers: {'x a': b}}", "headers: this is not a header name", id="no-header-name"),
        pytest.param(
            "{headers: {Authorization: x}}",
            "headers: the header 'authorization' is a credential: "
            "what its holder may do stands under a key, not in a rule",
            id="a-credential",
        ),
        pytest.param(
            "{headers: {x-a: {exact: b, prefix: c}}}",
            "headers.x-a: give exactly one of exact, prefix, regex, present",
            id="two-ways-to-be",
        ),
        pytest.param(
            "{headers: {x-a: {regex: '(?=a)'}}}",
            f"headers.x-a.regex: this is not a regular expression: {NO_LOOK_AROUND}",
            id="a-regex-that-could-backtrack",
        ),
        pytest.param(
            "{headers: {x-a: {regex: '(a'}}}",
            "headers.x-a.regex: this is not a regular expression: unclosed group",
            id="no-regex",
        ),
        pytest.param(
            "{operation: chatt}", "operation: must be 'chat', 'text_completion' or 'embeddings'", id="no-operation"
        ),
        pytest.param(
            "{promptTokens: {}}",
            "promptTokens: there is no bound here, give at least one of gt, gte, lt, lte",
            id="no-bound",
        ),
        pytest.param(
            "{promptTokens: {gt: 9, lt: 10}}", "promptTokens: no number is within these bounds", id="empty-range"
        ),
        pytest.param(
            "{maxTokens: {gte: 9, lte: 8}}", "maxTokens: no number is within these bounds", id="reversed-range"
        ),
        pytest.param(
            "{uses: [tool]}",
            "uses[0]: must be 'tools', 'images', 'files', 'audio', 'json_schema' or 'reasoning'",
            id="no-such-use",
        ),
        pytest.param("{time: {from: 8:00}}", "time.from: a time of day is written 08:30", id="no-time"),
        pytest.param(
            "{time: {timezone: Mars/Base}}",
            "time.timezone: there is no time zone 'Mars/Base' on this machine; names are like Europe/Berlin",
            id="no-time-zone",
        ),
        pytest.param("{percentage: {value: 101}}", "percentage.value: must be at most 100.0", id="over-a-hundred"),
        pytest.param(
            "{percentage: {value: 1, by: usr}}",
            "percentage.by: must be 'user', 'conversation', 'key' or 'tenant'",
            id="no-unit",
        ),
        pytest.param(
            "{when: 'modl == \"a\"'}",
            "when: column 1: undeclared reference to 'modl'; there are model, operation, "
            "path, headers, promptTokens, maxTokens, stream, uses, caller, user, metadata, now",
            id="cel-name",
        ),
        pytest.param(
            "{when: 'model > 1'}",
            "when: column 7: found no matching overload for '_>_' applied to '(string, int)'",
            id="cel-types",
        ),
        pytest.param(
            "{when: 'model'}", "when: the expression gives string, but must be true or false", id="cel-no-truth"
        ),
        pytest.param("{modle: m}", 'unknown key "modle", did you mean "model"?', id="unknown-key"),
    ],
)
def test_a_match_is_refused_when_it_cannot_be_meant(match: str, wrong: str) -> None:
    """At load, never at a client's request."""
    found = problems(config(f"{{match: {match}, backends: [{{name: b}}]}}"))
    path = "rules[0].match" + ("" if wrong.startswith("unknown key") else ".")
    separator = ": " if wrong.startswith("unknown key") else ""
    assert found == [f"{path}{separator}{wrong}"]


@pytest.mark.parametrize(
    ("rules", "more", "wrong"),
    [
        pytest.param("{}", "", ["rules[0]: give exactly one of backends, experiment and refuse"], id="no-result"),
        pytest.param(
            "{backends: [{name: b}], refuse: {message: no}}",
            "",
            ["rules[0]: give exactly one of backends, experiment and refuse"],
            id="two-results",
        ),
        pytest.param(
            "{backends: [{name: bb}]}",
            "",
            ['rules[0].backends[0].name: there is no backend "bb", did you mean "b"?'],
            id="unknown-backend",
        ),
        pytest.param(
            "{backends: [{name: b}, {name: b}]}",
            "",
            ['rules[0].backends[1]: "b" stands twice in this list, give it one weight'],
            id="backend-twice",
        ),
        pytest.param("{refuse: {}}", "", ['rules[0].refuse: the key "message" is missing'], id="refusal-without-words"),
        pytest.param(
            "{refuse: {message: no, status: 200}}",
            "",
            ["rules[0].refuse.status: must be at least 400"],
            id="refusal-that-is-none",
        ),
        pytest.param(
            "{refuse: {message: no}, strategy: fastest}",
            "",
            ["rules[0].strategy: a rule that refuses has no backends for 'strategy'"],
            id="refusal-in-order",
        ),
        pytest.param(
            "{name: x, match: {stream: true}, backends: [{name: b}]}, {name: x, refuse: {message: no}}",
            "",
            ['rules[1].name: "x" is already the name of rules[0]'],
            id="name-twice",
        ),
        pytest.param(
            "{backends: [{name: b}]}, {match: {stream: true}, backends: [{name: b}]}",
            "",
            [
                (
                    "rules[1]: no call reaches this rule, because rules[0] before it matches every call, "
                    "the first rule that matches decides"
                )
            ],
            id="behind-everything",
        ),
        pytest.param(
            "{match: {user: u, stream: true}, backends: [{name: b}]}, "
            "{match: {stream: true, user: u}, refuse: {message: no}}",
            "",
            [
                (
                    "rules[1]: no call reaches this rule, because rules[0] before it has the same match, "
                    "the first rule that matches decides"
                )
            ],
            id="behind-its-equal",
        ),
        pytest.param(
            "{backends: [{name: b, weight: 0}]}",
            "",
            ["rules[0].backends: every backend of this rule is drained by weight 0, and the route has no fallback"],
            id="all-drained",
        ),
        pytest.param(
            "{backends: [{name: a}, {name: b}], strategy: priority, affinity: {by: user}}",
            "",
            ['rules[0].affinity: the strategy "priority" knows no affinity, only weighted keeps units on one backend'],
            id="affinity-without-weights",
        ),
    ],
)
def test_rules_are_refused_when_they_do_not_fit_together(rules: str, more: str, wrong: list[str]) -> None:
    """Each would be a surprise at some client's request."""
    assert problems(config(rules, more)) == wrong


def test_a_drained_default_is_refused_when_nobody_is_left() -> None:
    """With a fallback it is a way to take it out."""
    text = f"{BACKENDS}routes: {{r: {{models: [m], defaultBackend: {{name: a, weight: 0}}}}}}"
    assert problems(text) == [
        "defaultBackend.weight: the default backend is drained by weight 0, and the route has no fallback"
    ]
    load(text.replace("weight: 0}", "weight: 0}, fallback: {backends: [b]}").encode(), SETTINGS)


@pytest.mark.parametrize(
    ("rules", "more", "doubt"),
    [
        pytest.param(
            "{backends: [{name: b}], strategy: fastest}",
            "",
            "rules[0].strategy: this rule has one backend: there is nothing to order",
            id="nothing-to-order",
        ),
        pytest.param(
            "{backends: [{name: a}, {name: b, weight: 0}]}",
            ", fallback: {backends: [b]}",
            'rules[0].backends[1]: "b" is drained here, so that this rule\'s calls do not fall back to it either',
            id="drained-fallback",
        ),
    ],
)
def test_rules_are_doubted_when_they_are_hardly_meant(rules: str, more: str, doubt: str) -> None:
    """They work."""
    assert doubt in doubts(config(rules, more))


RULE = """{name: n, match: {model: [m, "m*"], headers: {X-A: b, x-b: {prefix: c}, x-c: {regex: "^d"},
 x-d: {present: false}}, path: /v1/embeddings, operation: [chat], promptTokens: {gt: 1, lte: 5}, maxTokens: {lt: 9},
 stream: true, uses: [tools], caller: {key: k, tenant: [t, u], tier: free, tags: [x]}, user: u,
 metadata: {team: [a, b]}, time: {days: [mon, sun], from: 08:30, to: 24:00, timezone: Europe/Berlin},
 percentage: {value: 2.5, by: {header: x-s}}, when: "maxTokens == null || caller.tier == 'free'"},
 backends: [{name: a, weight: 9}, {name: b, weight: 0}], strategy: weighted, affinity: {by: conversation}}"""


def test_the_schema_takes_every_way_to_write_a_rule() -> None:
    """Editors must not underline what works; and what comes out can be read again."""
    text = config(RULE)
    loaded = load(text.encode(), SETTINGS).config
    assert Draft202012Validator(json_schema(SETTINGS)).is_valid(
        yaml.safe_load(text.replace("08:30", "'08:30'").replace("24:00", "'24:00'"))
    )
    again = yaml.safe_dump({"backends": loaded.redacted()["backends"], "routes": loaded.redacted()["routes"]})
    assert load(again.encode(), SETTINGS).config.routes == loaded.routes


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param("{}", id="no-result"),
        pytest.param("{match: {headers: {x-a: {exact: a, prefix: b}}}, backends: [{name: b}]}", id="two-ways"),
        pytest.param("{match: {model: []}, backends: [{name: b}]}", id="no-model"),
        pytest.param("{match: {operation: chatt}, backends: [{name: b}]}", id="no-operation"),
        pytest.param("{backends: [{name: b, weight: -1}]}", id="negative-weight"),
        pytest.param("{backends: [{name: b}], affinity: {by: moon}}", id="no-unit"),
        pytest.param("{refuse: {message: no, status: 302}}", id="no-refusal"),
    ],
)
def test_the_schema_refuses_what_load_refuses(rule: str) -> None:
    """A file is told wrong while it is written."""
    assert problems(config(rule))
    assert not Draft202012Validator(json_schema(SETTINGS)).is_valid(yaml.safe_load(config(rule)))


def test_rules_know_every_operation_of_the_api() -> None:
    """A new operation must be one that rules can name."""
    assert set(get_args(Operation)) == {operation.value for operation in call.Operation}
    assert set(get_args(Path)) == set(call.OPERATION_PATHS)
