"""The edge listener: what changes it, and what it lets in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from extproc.bootstrap.edge import edge_listener
from extproc.bootstrap.typed_config import to_json
from extproc.exchange.snapshot import Snapshot

ONE = """
backends:
  a: {provider: custom, url: "http://a.example.com"}
routes:
  r: {models: [m], defaultBackend: {name: a}}
"""
MANY = """
backends:
  a: {provider: custom, url: "https://a.example.com", apiKey: {env: A}}
  b: {provider: demo}
  c: {provider: openai, apiKey: {env: B}}
routes:
  r: {models: [m, "n*"], defaultBackend: {name: a}, fallback: {backends: [b, c]}, timeouts: {firstToken: 5s}}
  s: {models: [o], defaultBackend: {name: c}, retries: {perBackend: 4}}
"""


def manager(listener: dict[str, Any]) -> dict[str, Any]:
    """The HTTP connection manager's settings."""
    typed: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return typed


def test_edge_stays_when_backends_and_routes_change(compiled: Callable[[str], Snapshot]) -> None:
    """Envoy drains the connections of a listener that a reload has changed."""
    assert to_json(edge_listener(compiled(ONE))) == to_json(edge_listener(compiled(MANY)))


def test_body_limit_is_everywhere_the_same(compiled: Callable[[str], Snapshot]) -> None:
    """What is buffered, and what the reply says about it."""
    edge = to_json(edge_listener(compiled(f"gateway: {{bodyLimit: 64KiB}}\n{ONE}")))
    route = manager(edge)["route_config"]["virtual_hosts"][0]["routes"][0]
    assert edge["per_connection_buffer_limit_bytes"] == route["request_body_buffer_limit"] == 64 << 10
    replies = manager(edge)["local_reply_config"]["mappers"]
    assert "65536 bytes" in next(
        reply["body_format_override"]["json_format"]["error"]["message"]
        for reply in replies
        if reply.get("body_format_override", {}).get("json_format", {}).get("error", {}).get("code")
        == "request_too_large"
    )


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        ("x-kortex-trail", True),
        ("X-Kortex-Assignment", True),
        ("x-kortex-", True),
        ("x-kortex-exp", True),
        ("x-kortex-explai", True),
        ("x-kortex-explaim", True),
        ("x-kortex-explained", True),
        ("x-kortex-explain", False),
        ("x-envoy-max-retries", True),
        ("x-forwarded-for", True),
        ("x-kortexx", False),
        ("user-agent", False),
    ],
)
def test_clients_speak_in_nobody_elses_name(compiled: Callable[[str], Snapshot], name: str, *, goes: bool) -> None:
    """Their x-kortex-, x-envoy- and x-forwarded- headers go before anything reads them, but for what they may ask."""
    mutation = manager(to_json(edge_listener(compiled(ONE))))["early_header_mutation_extensions"][0]["typed_config"]
    removed = [entry["remove_on_match"]["key_matcher"]["safe_regex"]["regex"] for entry in mutation["mutations"]]
    assert any(re.fullmatch(pattern, name) for pattern in removed) is goes
