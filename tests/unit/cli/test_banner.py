"""What is said when the gateway serves."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Mapping, Sequence

import pytest
from rich.console import Console

from extproc.cli.banner import Served, curl_line, print_banner, reachable
from extproc.cli.without_secrets import compile_without_secrets
from extproc.config.load import load
from extproc.exchange.snapshot import Snapshot
from extproc.providers.registry import SETTINGS

BASE_URL = "http://127.0.0.1:8080/v1"

BACKENDS = """
backends:
  first: {provider: openai, apiKey: {env: KEY}}
  second: {provider: custom, url: "http://127.0.0.1:1"}
  embedder: {provider: custom, url: "http://127.0.0.1:2"}
  demo: {provider: demo}
"""


def snapshot(routes: str) -> Snapshot:
    """A configuration with these routes, each a line of YAML."""
    return compile_without_secrets(load(f"{BACKENDS}\nroutes:\n{routes}".encode(), SETTINGS).config)


def printed(
    routes: str,
    *,
    width: int = 100,
    sources: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    listen: str = "127.0.0.1:8080",
) -> str:
    """The banner on a stream that is no terminal."""
    stream = io.StringIO()
    served = Served(
        snapshot=snapshot(routes),
        config="kortex.yaml",
        listen=listen,
        admin="127.0.0.1:9090",
        envoy_version="1.40.0",
        workers=2,
        sources=sources or {},
        notes=notes,
    )
    print_banner(Console(file=stream, width=width), served)
    return stream.getvalue()


def body_of(line: str) -> dict[str, object]:
    """What curl would send, as a POSIX shell reads the line."""
    words = shlex.split(line)
    body: dict[str, object] = json.loads(words[words.index("-d") + 1])
    return body


def test_banner_says_where_it_listens() -> None:
    """With the addresses that were really taken."""
    said = printed("  a: {models: [m], defaultBackend: {name: first}}")
    assert "http://127.0.0.1:8080/v1" in said
    assert "http://127.0.0.1:9090" in said
    assert "Envoy 1.40.0, 2 workers" in said
    assert "kortex.yaml" in said


def test_banner_says_when_everybody_can_reach_it() -> None:
    """The address of this machine would hide it."""
    route = "  a: {models: [m], defaultBackend: {name: first}}"
    assert "http://127.0.0.1:8080/v1 (on every interface)" in printed(route, listen="0.0.0.0:8080")
    assert "on every interface" not in printed(route)


def test_banner_shows_the_chain_of_a_route() -> None:
    """In the order in which the backends are asked."""
    said = printed("  a: {models: [m, 'x-*'], defaultBackend: {name: first}, fallback: {backends: [second]}}")
    (line,) = (line for line in said.splitlines() if "first" in line)
    assert line.split() == ["m,", "x-*", "first", "→", "second", "kortex.yaml"]


def test_banner_says_which_variable_a_backend_comes_from() -> None:
    """Where there is no file, that is where it comes from."""
    said = printed(
        "  a: {models: [m], defaultBackend: {name: first}, fallback: {backends: [second]}}",
        sources={"first": "OPENAI_API_KEY", "second": "VLLM_URL"},
    )
    assert "OPENAI_API_KEY, VLLM_URL" in said


def test_banner_does_not_list_a_catalogue() -> None:
    """Hundreds of names would push the curl line off the screen."""
    models = ", ".join(f"m{number}" for number in range(100))
    said = printed(f"  a: {{models: [{models}], defaultBackend: {{name: first}}}}")
    assert "and 92 more" in said
    assert "m9" not in said


def test_banner_shows_the_notes() -> None:
    """What was not as expected, unbroken however long."""
    note = "ollama did not list its models: " + "why " * 40
    assert note.strip() in printed("  a: {models: [m], defaultBackend: {name: first}}", notes=[note])


def test_banner_is_plain_when_it_is_no_terminal() -> None:
    """A log file holds no colours."""
    assert "\x1b" not in printed("  a: {models: [m], defaultBackend: {name: first}}")


def test_names_are_not_read_as_markup() -> None:
    """Model names may hold brackets."""
    assert "[bold]m" in printed("  a: {models: ['[bold]m'], defaultBackend: {name: first}}")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_curl_line_is_one_line_when_the_terminal_is_narrow(width: int) -> None:
    """A line that is wrapped cannot be pasted."""
    routes = "  a: {models: [a-model-with-a-rather-long-name], defaultBackend: {name: first}}"
    assert curl_line(snapshot(routes), BASE_URL) in printed(routes, width=width).splitlines()


def test_curl_line_asks_the_first_model_with_a_name() -> None:
    """A glob is no model."""
    line = curl_line(
        snapshot(
            "  a: {models: ['x-*'], defaultBackend: {name: first}}\n"
            "  b: {models: ['y-*', y], defaultBackend: {name: second}}\n"
            "  c: {models: [z], defaultBackend: {name: second}}\n"
        ),
        BASE_URL,
    )
    assert shlex.split(line)[:2] == ["curl", f"{BASE_URL}/chat/completions"]
    assert body_of(line) == {"model": "y", "messages": [{"role": "user", "content": "Hello"}]}


def test_curl_line_asks_the_demo_where_there_is_one() -> None:
    """It needs no account and costs nothing."""
    line = curl_line(
        snapshot(
            "  a: {models: [m], defaultBackend: {name: first}}\n"
            "  b: {models: [kortex-demo], defaultBackend: {name: demo}}\n"
        ),
        BASE_URL,
    )
    assert body_of(line)["model"] == "kortex-demo"


def test_curl_line_lists_models_when_none_has_a_name() -> None:
    """Which globs stand for what only the providers know."""
    line = curl_line(snapshot("  a: {models: ['*'], defaultBackend: {name: first}}"), BASE_URL)
    assert line == f"curl {BASE_URL}/models"


@pytest.mark.parametrize("name", ["it's", 'a "b"', "a b", "$HOME", "`id`", "ü", "a\\b"])
def test_curl_line_survives_the_shell(name: str) -> None:
    """Names are the operator's, quotes and all."""
    line = curl_line(snapshot(f"  a: {{models: [{json.dumps(name)}], defaultBackend: {{name: first}}}}"), BASE_URL)
    assert body_of(line)["model"] == name


@pytest.mark.parametrize(
    ("address", "url"),
    [
        pytest.param("127.0.0.1:8080", "http://127.0.0.1:8080", id="one interface"),
        pytest.param("0.0.0.0:8080", "http://127.0.0.1:8080", id="every interface"),
        pytest.param("[::]:8080", "http://[::1]:8080", id="every interface in IPv6"),
        pytest.param("[fd00::1]:8080", "http://[fd00::1]:8080", id="IPv6"),
    ],
)
def test_listener_on_every_interface_is_shown_as_this_machine(address: str, url: str) -> None:
    """What is printed can be pasted."""
    assert reachable(address) == url
