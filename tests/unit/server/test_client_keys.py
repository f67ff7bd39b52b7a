"""The ring that serves: from the config, its secrets, and the file of keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.config.load import ConfigError, load
from extproc.headers import Headers
from extproc.providers.registry import SETTINGS
from extproc.server.client_keys import read_keys

HASHES = ["sha256:" + letter * 64 for letter in "ab"]
SECRET = "kx-a-secret-nobody-guesses"


def refusals(text: str, environment: dict[str, str]) -> list[str]:
    """What keeps the ring from being made."""
    with pytest.raises(ConfigError) as caught:
        read_keys(load(text.encode(), SETTINGS).config, environment)
    return [str(problem) for problem in caught.value.problems]


def test_a_secret_of_the_environment_opens(tmp_path: Path) -> None:
    """Beside the keys of the file."""
    file = tmp_path / "keys.jsonl"
    file.write_text(f'{{"name": "other", "hash": "{HASHES[0]}"}}\n')
    config = load(f"keys: [{{name: a, secret: {{env: KEY}}}}]\nkeysFile: {file}".encode(), SETTINGS).config
    ring = read_keys(config, {"KEY": SECRET})
    assert ring.identify(Headers([("authorization", f"Bearer {SECRET}")]), now=0.0).caller.key == "a"
    assert len(ring) == 2


def test_everything_is_told_when_keys_cannot_be_had(tmp_path: Path) -> None:
    """Unset, guessable, shared, in two places, for a route that is not there; never with the secret itself."""
    file = tmp_path / "keys.jsonl"
    file.write_text(f'{{"name": "a", "hash": "{HASHES[0]}", "routes": ["absent"]}}\n')
    text = (
        "keys: [{name: a, secret: {env: UNSET}}, {name: b, secret: {env: SHORT}},"
        f" {{name: c, hash: '{HASHES[1]}'}}, {{name: d, hash: '{HASHES[1]}'}}]\nkeysFile: {file}"
    )
    told = refusals(text, {"SHORT": "fifteen-letters"})
    assert "fifteen" not in "".join(told)
    assert "the environment variable SHORT holds a key shorter than 16 characters" in told[1]
    assert [problem.partition(": ")[0] for problem in told] == [
        "keys[0].secret",
        "keys[1].secret",
        "keysFile",
        "keysFile",
        "keys",
    ]


def test_a_file_that_is_not_there_is_told() -> None:
    """As a secret's would be."""
    assert "cannot be read" in refusals("keysFile: no/such/file", {})[0]
