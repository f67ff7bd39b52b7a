"""Each way to match: what it takes, what it does not, and that it can say what it found."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.admission.caller import ANONYMOUS, Caller
from extproc.config.matches import Match
from extproc.config.validation import validate
from extproc.config.yaml_text import read
from extproc.routing.match import compile_match
from tests.unit.routing.conftest import NOON, facts_of

HOLDER = Caller(key="k1", tenant="acme", user="ann", tier="free", tags=("beta", "eu"))
IMAGE = {
    "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://i.test/x.png"}}]}]
}
TOOL = {"tools": [{"type": "function", "function": {"name": "f"}}]}
DAY = 86_400.0
HOUR = 3_600.0


def asks(**about: Any) -> dict[str, Any]:
    """What is particular about a call."""
    return about


@pytest.mark.parametrize(
    ("match", "taken", "left"),
    [
        pytest.param("model: m", asks(), asks(body={"model": "other"}), id="model"),
        pytest.param(
            "model: [x, 'gpt-?*']", asks(body={"model": "gpt-4"}), asks(body={"model": "gpt-"}), id="model-glob"
        ),
        pytest.param("headers: {X-A: b}", asks(headers={"x-a": "b"}), asks(headers={"x-a": "B"}), id="header-exact"),
        pytest.param("headers: {x-a: b}", asks(headers={"x-a": "b"}), asks(), id="header-absent"),
        pytest.param(
            "headers: {x-a: {prefix: b}}", asks(headers={"x-a": "bc"}), asks(headers={"x-a": "cb"}), id="prefix"
        ),
        pytest.param(
            "headers: {x-a: {regex: '^b+$'}}", asks(headers={"x-a": "bb"}), asks(headers={"x-a": "bc"}), id="regex"
        ),
        pytest.param("headers: {x-a: {present: true}}", asks(headers={"x-a": ""}), asks(), id="present"),
        pytest.param("headers: {x-a: {present: false}}", asks(), asks(headers={"x-a": "b"}), id="absent"),
        pytest.param("path: /v1/embeddings", asks(path="/v1/embeddings", body={"input": "x"}), asks(), id="path"),
        pytest.param(
            "path: /v1/embeddings", asks(path="/v1/embeddings/?a", body={"input": "x"}), asks(), id="path-and-a-slash"
        ),
        pytest.param(
            "operation: [embeddings, text_completion]",
            asks(path="/v1/completions", body={"prompt": "x"}),
            asks(),
            id="operation",
        ),
        pytest.param(
            "promptTokens: {gt: 100}",
            asks(body={"messages": [{"role": "user", "content": "word " * 200}]}),
            asks(),
            id="more-tokens",
        ),
        pytest.param(
            "promptTokens: {lt: 100}",
            asks(),
            asks(body={"messages": [{"role": "user", "content": "word " * 200}]}),
            id="fewer-tokens",
        ),
        pytest.param(
            "maxTokens: {gte: 10}", asks(body={"max_tokens": 10}), asks(body={"max_tokens": 9}), id="max-tokens"
        ),
        pytest.param(
            "maxTokens: {gt: 9, lt: 11}", asks(body={"max_completion_tokens": 10}), asks(), id="no-max-tokens"
        ),
        pytest.param("maxTokens: {lte: 9}", asks(body={"max_tokens": 9}), asks(body={"max_tokens": 10}), id="at-most"),
        pytest.param("stream: true", asks(body={"stream": True}), asks(), id="stream"),
        pytest.param("stream: false", asks(), asks(body={"stream": True}), id="no-stream"),
        pytest.param("uses: [tools]", asks(body=TOOL), asks(), id="tools"),
        pytest.param("uses: [images]", asks(body=IMAGE), asks(body=TOOL), id="images"),
        pytest.param("uses: [images, tools]", asks(body={**IMAGE, **TOOL}), asks(body=IMAGE), id="all-uses"),
        pytest.param("uses: [reasoning]", asks(body={"reasoning_effort": "low"}), asks(), id="reasoning"),
        pytest.param(
            "uses: [json_schema]",
            asks(body={"response_format": {"type": "json_schema", "json_schema": {}}}),
            asks(body={"response_format": {"type": "json_object"}}),
            id="json-schema",
        ),
        pytest.param(
            "uses: [audio]",
            asks(
                body={
                    "messages": [
                        {
                            "role": "user",
                            "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}],
                        }
                    ]
                }
            ),
            asks(),
            id="audio",
        ),
        pytest.param(
            "uses: [files]",
            asks(body={"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]}),
            asks(),
            id="files",
        ),
        pytest.param("caller: {key: [k0, k1]}", asks(caller=HOLDER), asks(), id="key"),
        pytest.param("caller: {tenant: acme}", asks(caller=HOLDER), asks(caller=Caller(tenant="other")), id="tenant"),
        pytest.param("caller: {tier: free}", asks(caller=HOLDER), asks(caller=Caller(tier="paid")), id="tier"),
        pytest.param("caller: {tags: [eu, beta]}", asks(caller=HOLDER), asks(caller=Caller(tags=("eu",))), id="tags"),
        pytest.param("user: ann", asks(caller=HOLDER, body={"user": "bob"}), asks(), id="user-of-the-key"),
        pytest.param("user: [ann, bob]", asks(body={"user": "bob"}), asks(body={"user": "eve"}), id="user"),
        pytest.param(
            "user: bob", asks(body={"safety_identifier": "bob"}), asks(body={"user": 5}), id="safety-identifier"
        ),
        pytest.param(
            "metadata: {team: [a, b]}",
            asks(body={"metadata": {"team": "b"}}),
            asks(body={"metadata": {"team": 1}}),
            id="metadata",
        ),
        pytest.param("time: {from: 11:00, to: 12:01}", asks(), asks(arrived=NOON + 60), id="hours"),
        pytest.param(
            "time: {from: 13:00, to: 13:01, timezone: Europe/Berlin}",
            asks(),
            asks(arrived=NOON - HOUR),
            id="hours-elsewhere",
        ),
        pytest.param(
            "time: {from: 13:00, to: 13:01, timezone: Europe/Berlin}",
            asks(arrived=NOON + 180 * DAY - HOUR),
            asks(arrived=NOON + 180 * DAY),
            id="hours-in-summer",
        ),
        pytest.param("time: {days: [wed]}", asks(), asks(arrived=NOON + DAY), id="days"),
        pytest.param(
            "time: {days: [tue], from: 22:00, to: 06:00}",
            asks(arrived=NOON - 7 * HOUR),
            asks(arrived=NOON + 11 * HOUR),
            id="past-midnight",
        ),
        pytest.param("percentage: {value: 100}", asks(), None, id="all"),
        pytest.param("percentage: {value: 0}", None, asks(), id="none"),
        pytest.param("when: model == 'm' && promptTokens < 100", asks(), asks(body={"model": "n"}), id="cel"),
        pytest.param(
            "maxTokens: {lt: 9}",
            asks(body={"max_tokens": 8}),
            asks(body={"max_tokens": -1}),
            id="minus-one-is-no-limit",
        ),
        pytest.param("when: maxTokens == null", asks(), asks(body={"max_tokens": 5}), id="cel-null"),
        pytest.param(
            "when: caller.tier == 'free' && 'eu' in caller.tags",
            asks(caller=HOLDER),
            asks(caller=Caller(tier="x")),
            id="cel-caller",
        ),
        pytest.param(
            "when: headers['x-a'].startsWith('b') && 'tools' in uses && !stream && operation == 'chat'",
            asks(body=TOOL, headers={"x-a": "bc"}),
            asks(body=TOOL, headers={"x-a": "cb"}),
            id="cel-headers",
        ),
        pytest.param(
            "when: now.getHours('Europe/Berlin') == 13 && user == '' && path == '/v1/chat/completions'",
            asks(),
            asks(arrived=NOON + HOUR),
            id="cel-time",
        ),
        pytest.param(
            "when: metadata['team'] == 'a'",
            asks(body={"metadata": {"team": "a"}}),
            asks(body={"metadata": {"team": "b"}}),
            id="cel-metadata",
        ),
    ],
)
def test_a_match_takes_what_it_says(match: str, taken: dict[str, Any] | None, left: dict[str, Any] | None) -> None:
    """And nothing else; each condition says what it wanted and what it found."""
    wanted, found = validate(Match, read(match.encode()).root.plain(), ())
    assert wanted is not None, found
    conditions = compile_match(wanted, salt="r/rule")
    for about, expected in ((taken, True), (left, False)):
        if about is not None:
            facts = facts_of(**about)
            assert all(condition.holds(facts) for condition in conditions) is expected
            assert all(condition.wanted and condition.found(facts) for condition in conditions)


def test_everything_in_a_match_must_hold() -> None:
    """One of two is not enough."""
    conditions = compile_match(Match.model_validate({"stream": True, "headers": {"x-a": "b"}}), salt="s")
    both = facts_of({"stream": True}, headers={"x-a": "b"})
    assert [condition.holds(both) for condition in conditions] == [True, True]
    assert not all(condition.holds(facts_of({"stream": True})) for condition in conditions)
    assert compile_match(Match(), salt="s") == ()


def test_a_regex_stays_fast_when_the_client_wants_it_slow() -> None:
    """Nested quantifiers over a long value: Python's engine would not come back."""
    match = Match.model_validate({"headers": {"x-a": {"regex": "^(a+)+$"}}})
    (condition,) = compile_match(match, salt="s")
    assert not condition.holds(facts_of(headers={"x-a": "a" * 50_000 + "b"}))


def test_a_glob_stays_fast_when_the_client_wants_it_slow() -> None:
    """Many stars over a long name."""
    (condition,) = compile_match(Match.model_validate({"model": "*a*a*a*a*a*a*b"}), salt="s")
    assert not condition.holds(facts_of({"model": "a" * 1_000}))
    assert condition.holds(facts_of({"model": "a" * 1_000 + "b"}))


@pytest.mark.parametrize("by", ["user", "conversation", "tenant", "key", {"header": "x-s"}])
def test_a_share_is_the_same_for_a_unit_whatever_else_changes(by: Any) -> None:
    """Every call of a unit is in it, or none."""
    match = Match.model_validate({"percentage": {"value": 50, "by": by}})
    (condition,) = compile_match(match, salt="s")
    places = set()
    for number in range(40):
        body = {"user": f"u{number}", "messages": [{"role": "user", "content": f"hi {number}"}]}
        caller = Caller(tenant=f"t{number}", key=f"k{number}")
        first, second = (
            condition.holds(facts_of(body, headers={"x-s": f"s{number}"}, caller=caller, id=str(chance)))
            for chance in range(2)
        )
        assert first is second
        places.add(first)
    assert places == {True, False}


def test_a_call_without_the_unit_is_drawn_for_itself() -> None:
    """Anonymous calls are not all in, or all out."""
    (condition,) = compile_match(Match.model_validate({"percentage": {"value": 50, "by": "user"}}), salt="s")
    assert {condition.holds(facts_of(id=str(chance), caller=ANONYMOUS)) for chance in range(40)} == {True, False}


def test_a_conversation_is_the_same_at_every_turn() -> None:
    """Its first system and user messages; images are known by their beginning."""
    system, user = (
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    )
    opening = facts_of({"messages": [system, user]}).conversation
    later = [system, user, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "more"}]
    assert facts_of({"messages": later}).conversation == opening
    assert facts_of({"messages": [user]}).conversation != opening
    assert facts_of({"messages": [system, {"role": "user", "content": "ho"}]}).conversation != opening
    assert facts_of({"messages": [system]}).conversation is None
    assert facts_of({"input": "hi"}, path="/v1/embeddings").conversation is None
