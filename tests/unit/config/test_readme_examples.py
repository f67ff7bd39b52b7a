"""The README's pieces of kortex.yaml, put together as a reader would: one file, and nothing wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from extproc.config.load import load
from extproc.config.yaml_text import read
from extproc.providers.registry import PROVIDERS, SETTINGS

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


def test_the_examples_are_one_sound_file() -> None:
    """Also backends that one names and another describes."""
    whole: dict[str, Any] = {}
    for piece in pieces():
        whole = together(whole, piece)
    assert {"backends", "routes", "keys", "limits", "budgets", "quota", "ledger", "gateway"} <= whole.keys()
    config = load(orjson.dumps(whole), SETTINGS).config
    assert config.routes[_ROUTE].rules
    assert config.routes[_ROUTE].experiments


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
