"""Who is asked, in which order, and who is left out, with the reason of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from extproc.exchange.snapshot import Snapshot
from extproc.routing.health import BackendState, Circuit
from tests.unit.routing.conftest import States, compiled, decided, facts_of, plan

BACKENDS = """
backends:
  a: {provider: custom, url: "http://a.test/v1", contextWindow: 4000, cost: {inputTokenCost: "3", outputTokenCost: "1"}}
  b: {provider: custom, url: "http://b.test/v1", contextWindow: 300, cost: {inputTokenCost: "1", outputTokenCost: "2"}}
  c: {provider: custom, url: "http://c.test/v1"}
  d: {provider: custom, url: "http://d.test/v1", contextWindow: 900, capabilities: {vision: false}, maxOutput: 50}
  euro:
    {provider: custom, url: "http://e.test/v1",
     cost: {inputTokenCost: "0.1", outputTokenCost: "0.1", currency: EUR}}
  unpriced: {provider: custom, url: "http://u.test/v1", unpriced: reject}
  claude: {provider: anthropic, model: claude-sonnet-4-5, apiKey: {env: KEY}}
  mistral: {provider: mistral, apiKey: {env: KEY}}
"""
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://i.test/x.png"}}]}]


def snapshot(rule: str, route: str = "") -> Snapshot:
    """One route whose only rule is this one."""
    return compiled(f"{BACKENDS}routes: {{r: {{models: ['*'], defaultBackend: {{name: c}}, rules: [{rule}]{route}}}}}")


def split(names: str, strategy: str) -> str:
    """A rule over these backends."""
    return f"{{backends: [{', '.join(f'{{name: {name}}}' for name in names.split())}], strategy: {strategy}}}"


@pytest.mark.parametrize(
    ("rule", "body", "expected"),
    [
        pytest.param(split("b c a", "priority"), {}, ["b", "c", "a"], id="priority"),
        pytest.param(split("a b", "cheapest"), {"max_tokens": 1}, ["b", "a"], id="cheapest-by-the-prompt"),
        pytest.param(split("a b", "cheapest"), {"max_tokens": 90}, ["a", "b"], id="cheapest-by-the-answer"),
        pytest.param(split("c b a", "cheapest"), {"max_tokens": 90}, ["a", "b", "c"], id="no-price-is-last"),
        pytest.param(
            split("b euro a", "cheapest"), {"max_tokens": 90}, ["a", "b", "euro"], id="another-currency-is-last"
        ),
        pytest.param(split("a d b c", "smallestFit"), {}, ["b", "d", "a", "c"], id="smallest-window"),
        pytest.param(split("a d b c", "smallestFit"), {"max_tokens": 290}, ["a", "c"], id="answer-does-not-fit"),
        pytest.param(split("a b", "fastest"), {}, ["b", "a"], id="fastest"),
        pytest.param(split("c a", "fastest"), {}, ["a", "c"], id="unmeasured-is-last"),
        pytest.param(split("a b", "leastBusy"), {}, ["a", "b"], id="least-busy"),
        pytest.param(
            "{backends: [{name: a}, {name: b, weight: 9}], strategy: leastBusy}", {}, ["b", "a"], id="by-weight"
        ),
    ],
)
def test_a_strategy_orders_the_backends_of_a_rule(rule: str, body: Mapping[str, Any], expected: list[str]) -> None:
    """Those not chosen are the tail of the plan."""
    states = States(
        known={
            "a": BackendState(first_token_ms=100, tokens_per_second=50, in_flight=1),
            "b": BackendState(first_token_ms=300, tokens_per_second=100, in_flight=4),
        }
    )
    messages = [{"role": "user", "content": "word " * 30}]
    found = decided(snapshot(rule), facts_of({"messages": messages, **body}), states)
    assert plan(found) == expected
    assert found.rule == "rules[0]"
    assert all(candidate.reason for candidate in found.candidates)


@pytest.mark.parametrize(
    ("body", "path", "expected", "reason"),
    [
        pytest.param({}, "/v1/chat/completions", ["a", "claude", "mistral", "c"], None, id="everybody"),
        pytest.param({"n": 2}, "/v1/chat/completions", ["a", "mistral", "c"], "claude lacks n", id="feature"),
        pytest.param({"prompt": "hi"}, "/v1/completions", ["a", "c"], "mistral has no text_completion", id="operation"),
        pytest.param(
            {"messages": [{"role": "user", "content": "word " * 5_000}]},
            "/v1/chat/completions",
            ["claude", "mistral", "c"],
            "a holds 4000 tokens, fewer than the prompt",
            id="window",
        ),
        pytest.param(
            {"max_tokens": 3_999},
            "/v1/chat/completions",
            ["claude", "mistral", "c"],
            "a holds 4000 tokens, fewer than the prompt and an answer of 3999 tokens",
            id="window-and-answer",
        ),
    ],
)
def test_a_backend_is_left_out_when_it_cannot_serve_the_call(
    body: Mapping[str, Any], path: str, expected: list[str], reason: str | None
) -> None:
    """With its reason."""
    found = decided(
        snapshot(split("a claude mistral", "priority"), ", fallback: {backends: [c]}"), facts_of(body, path=path)
    )
    assert plan(found) == expected
    assert reason is None or reason in found.reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param({"messages": IMAGE}, "d lacks images", id="no-vision"),
        pytest.param({"max_tokens": 51}, "d answers with at most 50 tokens", id="too-long-an-answer"),
    ],
)
def test_a_backend_is_left_out_by_what_is_told_of_its_model(body: Mapping[str, Any], reason: str) -> None:
    """What nobody told of the other excludes nothing."""
    found = decided(snapshot(split("d c", "priority")), facts_of(body))
    assert plan(found) == ["c"]
    assert reason in found.reason


def test_a_backend_without_a_price_is_left_out_where_it_must_have_one() -> None:
    """The others serve the call."""
    found = decided(snapshot(split("unpriced c", "priority")), facts_of())
    assert plan(found) == ["c"]
    assert "unpriced has no known price for it" in found.reason


def test_an_estimate_excludes_only_where_it_is_far_over() -> None:
    """Nobody has this model's vocabulary: a prompt that may still fit is tried."""
    text = """
backends:
  a: {provider: custom, url: "http://a.test/v1", model: nobody-knows-it, contextWindow: 100}
  c: {provider: custom, url: "http://c.test/v1"}
routes: {r: {models: ["*"], defaultBackend: {name: a}, fallback: {backends: [c]}}}
"""
    words = {count: facts_of({"messages": [{"role": "user", "content": "word " * count}]}) for count in (80, 105, 300)}
    plans = {count: plan(decided(compiled(text), facts)) for count, facts in words.items()}
    assert plans == {80: ["a", "c"], 105: ["a", "c"], 300: ["c"]}


def test_a_drained_backend_gets_no_call_even_when_the_others_cannot() -> None:
    """Not by the fallback either: it is being taken out."""
    rule = "{backends: [{name: claude}, {name: a, weight: 0}]}"
    found = decided(snapshot(rule, ", fallback: {backends: [a, c]}"), facts_of({"n": 2}))
    assert plan(found) == ["c"]
    assert "a is drained: its weight is 0" in found.reason


def test_a_drained_default_leaves_its_calls_to_the_fallback() -> None:
    """No rule is needed for that."""
    text = (
        f"{BACKENDS}routes: {{r: {{models: [m], defaultBackend: {{name: a, weight: 0}}, fallback: {{backends: [c]}}}}}}"
    )
    assert plan(decided(compiled(text), facts_of())) == ["c"]


@pytest.mark.parametrize(
    ("open_circuits", "expected"),
    [
        pytest.param((), ["a", "b", "c"], id="none"),
        pytest.param(("a",), ["b", "c", "a"], id="the-first"),
        pytest.param(("a", "b"), ["c", "a", "b"], id="all-of-the-rule"),
        pytest.param(("a", "b", "c"), ["a", "b", "c"], id="everybody"),
    ],
)
def test_an_open_backend_goes_to_the_end_of_the_plan(open_circuits: tuple[str, ...], expected: list[str]) -> None:
    """Never out of it: when nobody else is left, somebody has to be asked."""
    states = States(known=dict.fromkeys(open_circuits, BackendState(circuit=Circuit.OPEN)))
    found = decided(snapshot(split("a b", "priority"), ", fallback: {backends: [c]}"), facts_of(), states)
    assert plan(found) == expected
    last = {candidate.target.backend: candidate.reason for candidate in found.candidates}
    assert all("last, for its circuit is open" in last[name] for name in open_circuits)


def test_a_half_open_backend_keeps_its_place() -> None:
    """A probe must be able to reach it."""
    states = States(known={"a": BackendState(circuit=Circuit.HALF_OPEN)})
    assert plan(decided(snapshot(split("a b", "priority")), facts_of(), states)) == ["a", "b"]


def test_the_first_rule_that_matches_decides() -> None:
    """And the default backend when none does; one that refuses has no plan."""
    rules = """
{name: streams, match: {stream: true}, backends: [{name: a}]}, {match: {user: u}, backends: [{name: b}]},
{match: {user: v}, refuse: {message: "not today", status: 451, code: no_v}}"""
    made = snapshot(rules, ", fallback: {backends: [claude]}")
    cases: dict[str, tuple[dict[str, Any], str | None, list[str]]] = {
        "both": ({"stream": True, "user": "u"}, "streams", ["a", "claude"]),
        "second": ({"user": "u"}, "rules[1]", ["b", "claude"]),
        "none": ({}, None, ["c", "claude"]),
        "refusal": ({"user": "v"}, "rules[2]", []),
    }
    for body, rule, expected in cases.values():
        found = decided(made, facts_of(body))
        assert (found.rule, plan(found)) == (rule, expected)
    refusal = decided(made, facts_of({"user": "v"})).refusal
    assert refusal is not None
    assert (refusal.status, refusal.code, refusal.message) == (451, "no_v", "not today")


def test_a_rule_does_not_match_when_its_expression_fails() -> None:
    """The next one is asked, and the failure is known."""
    rules = """{name: odd, match: {when: "headers['x-a'] == 'b'"}, backends: [{name: a}]},
{name: next, backends: [{name: b}]}"""
    found = decided(snapshot(rules), facts_of())
    assert (found.rule, found.failed_rules) == ("next", ("odd",))
    assert decided(snapshot(rules), facts_of(headers={"x-a": "b"})).rule == "odd"


def test_affinity_of_the_route_holds_for_rules_that_split_by_weight() -> None:
    """A rule with an order of its own does without."""
    rules = (
        f"{{match: {{stream: true}}, backends: [{{name: a}}, {{name: b}}, {{name: c}}]}}, {split('b a', 'priority')}"
    )
    made = snapshot(rules, ", affinity: {by: {header: x-s}}")
    kept = {
        tuple(plan(decided(made, facts_of({"stream": True}, headers={"x-s": "session"}, id=str(chance)))))
        for chance in range(20)
    }
    assert len(kept) == 1
    drawn = {tuple(plan(decided(made, facts_of({"stream": True}, id=str(chance))))) for chance in range(60)}
    assert len(drawn) == 6
    assert plan(decided(made, facts_of(headers={"x-s": "session"}))) == ["b", "a"]


def test_the_reason_stays_a_line_whatever_the_client_calls_things() -> None:
    """It travels in a header and stands in the access log."""
    text = f"{BACKENDS}routes: {{r: {{models: ['*'], strict: true, defaultBackend: {{name: claude}}}}}}"
    found = decided(compiled(text), facts_of({"we\r\nird": 1, "x" * 5_000: 1}))
    assert found.reason.isprintable()
    assert len(found.reason) <= 300
