"""``keys:`` as it is written, and when a gateway may be open to everybody."""

from __future__ import annotations

import pytest

from extproc.config.load import ConfigError, load
from extproc.providers.registry import SETTINGS

HASH = "sha256:" + "a" * 64
KEY = f"keys: [{{name: a, hash: '{HASH}'}}]"


def problems(text: str) -> list[str]:
    """What is wrong, line by line."""
    try:
        load(text.encode(), SETTINGS)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("gateway: {listen: '0.0.0.0:1', auth: none}", id="said"),
        pytest.param(f"gateway: {{listen: ':1'}}\n{KEY}", id="keys"),
        pytest.param("gateway: {listen: ':1'}\nkeysFile: keys.jsonl", id="file"),
        pytest.param("gateway: {listen: '127.0.0.9:1'}", id="loopback"),
        pytest.param("gateway: {listen: '[::1]:1'}", id="loopback-ipv6"),
        pytest.param("gateway: {listen: 'localhost:1'}", id="localhost"),
        pytest.param("keys: [{name: a, secret: {env: A}, expires: 2026-12-31}]", id="plain-date"),
    ],
)
def test_a_gateway_may_be_open_when_it_is_meant(text: str) -> None:
    """Or when nobody else can reach it, or when it asks for keys."""
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("gateway: {listen: '0.0.0.0:1'}", "can be reached from other machines", id="every-interface"),
        pytest.param("gateway: {listen: '[::]:1'}", "can be reached from other machines", id="every-interface-ipv6"),
        pytest.param("gateway: {listen: '10.0.0.1:1'}", "can be reached from other machines", id="one-interface"),
        pytest.param(f"gateway: {{auth: none}}\n{KEY}", "but there are keys", id="auth-none-with-keys"),
        pytest.param("keys: []", "at least one entry", id="no-key-left"),
        pytest.param("keys: [{name: a}]", "exactly one of secret and hash", id="neither"),
        pytest.param("keys: [{name: a, hash: kx-secret}]", 'a hash is "sha256:"', id="no-hash"),
        pytest.param(
            f"keys: [{{name: a, hash: '{HASH}'}}, {{name: a, secret: {{env: A}}}}]", "another key", id="twice"
        ),
        pytest.param(f"keys: [{{name: a, hash: '{HASH}', routes: [x]}}]", 'no route "x"', id="unknown-route"),
        pytest.param(f"keys: [{{name: a, hash: '{HASH}', expires: soon}}]", "is not a date", id="no-date"),
        pytest.param(f"keys: [{{name: a, hash: '{HASH}', tenant: ' x'}}]", "white space", id="untidy-tenant"),
        pytest.param("keys: [{name: a, secret: kx-secret}]", "never written here", id="inline-secret"),
    ],
)
def test_a_mistake_is_told_when_keys_are_wrong(text: str, words: str) -> None:
    """By its place, and without what could be a secret."""
    (problem,) = problems(text)
    assert words in problem
    assert "kx-secret" not in problem
