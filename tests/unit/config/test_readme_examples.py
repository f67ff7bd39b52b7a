"""The README's pieces of kortex.yaml, put together as a reader would: one file, and nothing wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from extproc.admission.keyring import ANYONE
from extproc.cli.without_secrets import compile_without_secrets
from extproc.config.load import load
from extproc.config.yaml_text import read
from extproc.exchange.explanation import explain, request_headers
from extproc.providers.registry import PROVIDERS, SETTINGS
from extproc.routing.health import NOTHING_SEEN

_README = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:gateway|ledger): \{[^`]*\})`")
_ROUTE = "production"


def pieces() -> Iterator[dict[str, Any]]:
    """Every block and every piece of a line, each as it is written."""
    for text in (*_BLOCK.findall(_README), *_INLINE.findall(_README)):
        piece = read(text.encode()).root.plain()
        assert isinstance(piece, dict)
        yield {"routes": {_ROUTE: piece}} if "experiments" in piece else piece


def together(whole: dict[str, Any], piece: dict[str, Any]) -> dict[str, Any]:
    """What stands in one piece and not in the other; of what stands in both, the later."""
    return whole | {
        key: together(whole[key], value) if isinstance(value, dict) and isinstance(whole.get(key), dict) else value
        for key, value in piece.items()
    }


def whole_file() -> dict[str, Any]:
    """All pieces, as a reader would put them together."""
    whole: dict[str, Any] = {}
    for piece in pieces():
        whole = together(whole, piece)
    return whole


def test_the_examples_are_one_sound_file() -> None:
    """Also backends that one names and another describes."""
    whole = whole_file()
    assert {"backends", "routes", "keys", "limits", "budgets", "quota", "ledger", "gateway"} <= whole.keys()
    config = load(orjson.dumps(whole), SETTINGS).config
    assert config.routes[_ROUTE].rules
    assert config.routes[_ROUTE].experiments


def test_no_rule_fails_at_a_call_that_says_little() -> None:
    """An expression that compares what is not there matches nothing, and is counted as an error at every such call."""
    told = explain(
        request_headers("/v1/chat/completions", {}),
        orjson.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "?"}]}),
        snapshot=compile_without_secrets(load(orjson.dumps(whole_file()), SETTINGS).config),
        now=0.0,
        decision_id="d",
        key=ANYONE,
        states=NOTHING_SEEN,
    )
    conditions = [condition for rule in told.rules for condition in rule.conditions]
    assert len(told.rules) == 4
    assert [condition.found for condition in conditions if condition.holds is None] == []


def test_the_first_example_stands_by_itself() -> None:
    """It is what people paste."""
    first, *_ = _BLOCK.findall(_README)
    assert load(first.encode(), SETTINGS).warnings == ()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_providers_are_in_the_table_with_their_variables(provider: str) -> None:
    """With every variable that switches them on."""
    (row,) = re.findall(
        rf"^\| `{provider}`(?: \(.*?\))? \|.*?(?:yes|–).*$", _README.partition("## Configuration")[0], re.MULTILINE
    )
    environment = PROVIDERS[provider].environment
    names = [environment.key, environment.url, environment.base_url, *environment.together] if environment else []
    assert [name for name in names if name and f"`{name}`" not in row] == []
