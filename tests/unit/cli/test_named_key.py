"""Keys by their names, for explanations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extproc.cli.console import Failed
from extproc.cli.named_key import find_key
from extproc.config.gateway import Config
from extproc.config.load import load
from extproc.providers.registry import SETTINGS

HASH = f"sha256:{'0' * 64}"


def config(keys: str) -> Config:
    """A gateway whose clients have these keys."""
    backends = "backends: {b: {provider: custom, url: 'http://b'}}"
    routes = "routes: {r: {models: [m], defaultBackend: {name: b}}}"
    return load(f"{backends}\n{routes}\n{keys}".encode(), SETTINGS).config


def test_a_key_is_found_without_its_secret_being_read() -> None:
    """The variable that holds it is not set here."""
    settings = config("keys: [{name: ci, tenant: acme, models: ['gpt-*'], secret: {env: NOT_SET_ANYWHERE}}]")
    key = find_key(settings, "ci")
    assert (key.caller.key, key.caller.tenant, key.allows_model("gpt-4"), key.allows_model("m")) == (
        "ci",
        "acme",
        True,
        False,
    )


def test_a_key_of_the_file_of_keys_is_found(tmp_path: Path) -> None:
    """Beside those of the config."""
    file = tmp_path / "keys.jsonl"
    file.write_text(json.dumps({"name": "app", "hash": HASH, "tier": "gold"}) + "\n")
    assert find_key(config(f"keysFile: {file}"), "app").caller.tier == "gold"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        pytest.param(
            f"keys: [{{name: prod, hash: '{HASH}'}}]", "no key is called 'prd': did you mean", id="misspelled"
        ),
        pytest.param("", "there are none", id="none"),
        pytest.param("keysFile: /nowhere/keys.jsonl", "/nowhere/keys.jsonl", id="no-file"),
    ],
)
def test_a_key_that_is_not_there_is_said_so(keys: str, said: str) -> None:
    """With what there is."""
    with pytest.raises(Failed, match=said):
        find_key(config(keys), "prd")
