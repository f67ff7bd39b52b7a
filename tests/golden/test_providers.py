"""Every provider in the registry: what it is asked, as path, headers and body, and what its own replies become.

``providers/<name>/backend.json`` is its entry in kortex.yaml, where that takes more than the usual keys;
``requests.json`` is made of the client's requests beside the folders. A recorded ``reply.json`` becomes
``client.json``, ``reply.sse`` becomes ``client.sse``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.config.backends import Backend
from extproc.dialects.base import Translator, UpstreamReply
from extproc.errors import UpstreamError
from extproc.framing.sse import SseFramer
from extproc.headers import Headers
from extproc.openai.call import Call, Operation, parse_call
from extproc.providers.base import Provider
from extproc.providers.registry import PROVIDERS
from tests.golden.dialects import CREATED, as_text, error_fields, settle
from tests.golden.dialects import chunks as cut

FOLDER: Final = Path(__file__).parent / "providers"
README: Final = Path(__file__).parents[2] / "README.md"
ASKED: Final = [name for name, provider in PROVIDERS.items() if provider.answer is None]
MODEL: Final = "the-model"
RECORDED: Final = [(path.parent.name, path.suffix) for path in sorted(FOLDER.glob("*/reply.*"))]


def backend(provider: Provider[Any]) -> Backend:
    """An entry of the provider in kortex.yaml."""
    entry: Backend
    own = FOLDER / provider.name / "backend.json"
    if own.is_file():
        entry = provider.settings.model_validate(orjson.loads(own.read_bytes()))
        return entry
    usual = {"url": "https://provider.example", "apiKey": {"env": "KEY"}}
    names = {field.alias or name: field for name, field in provider.settings.model_fields.items()}
    required = {name: value for name, value in usual.items() if name in names and names[name].is_required()}
    entry = provider.settings.model_validate({"provider": provider.name, **required})
    return entry


def translator(name: str, operation: Operation) -> Translator | None:
    """What writes an operation for the provider."""
    provider = PROVIDERS[name]
    return provider.translator(operation, backend(provider), MODEL)


def request(provider: Provider[Any], operation: Operation) -> dict[str, Any] | None:
    """What the provider is sent for the client's request; None where it lacks the operation."""
    chosen = translator(provider.name, operation)
    if chosen is None:
        return None
    body = (FOLDER / f"{operation.value}.client.json").read_bytes()
    call = replace(parse_call(operation, body), created=CREATED)
    written = chosen.encode(call, MODEL)
    entry = backend(provider)
    return {
        "path": provider.path(entry, call, MODEL),
        "headers": dict((*written.headers, *provider.authorize(entry, "CREDENTIAL"))),
        "dropped": list(written.dropped),
        "body": json.loads(body if written.body is None else written.body),
    }


@pytest.mark.parametrize("name", ASKED)
def test_requests_are_as_recorded(name: str, *, update_golden: bool) -> None:
    """One of each operation, with what most clients use."""
    folder = FOLDER / name
    if update_golden:
        folder.mkdir(exist_ok=True)
    asked = {operation.value: request(PROVIDERS[name], operation) for operation in Operation}
    settle(folder / "requests.json", as_text(asked), update=update_golden)


@pytest.mark.parametrize("name", [name for name, suffix in RECORDED if suffix == ".json"])
def test_whole_reply_is_as_recorded(name: str, *, update_golden: bool) -> None:
    """In OpenAI's own form, with usage in the gateway's normal one."""
    chosen = translator(name, Operation.CHAT)
    assert chosen is not None
    body = (FOLDER / name / "reply.json").read_bytes()
    answer = chosen.decode(UpstreamReply(status=200, headers=Headers(), body=body), call(stream=False))
    shown = {"usage": _fields(answer.usage), "body": json.loads(answer.body)}
    settle(FOLDER / name / "client.json", as_text(shown), update=update_golden)


@pytest.mark.parametrize("name", [name for name, suffix in RECORDED if suffix == ".sse"])
def test_stream_is_as_recorded(name: str, *, update_golden: bool) -> None:
    """In one piece."""
    settle(FOLDER / name / "client.sse", streamed(name), update=update_golden)


@pytest.mark.parametrize("name", [name for name, suffix in RECORDED if suffix == ".sse"])
@settings(max_examples=25)
@given(sizes=st.lists(st.integers(1, 200), min_size=1, max_size=5).map(tuple))
def test_stream_is_the_same_when_cut_anywhere(name: str, sizes: tuple[int, ...]) -> None:
    """However the network cuts it."""
    assert streamed(name, sizes) == (FOLDER / name / "client.sse").read_bytes()


@pytest.mark.parametrize("name", PROVIDERS)
def test_provider_has_a_row_in_the_readme(name: str) -> None:
    """Where it is, what it can do and which variables it starts with."""
    rows = [line for line in README.read_text("utf-8").splitlines() if line.startswith(f"| `{name}` | ")]
    environment = PROVIDERS[name].environment
    variables = {environment.key, environment.url, environment.base_url} - {None} if environment else set()
    assert any(all(f"`{variable}`" in row for variable in variables) for row in rows)


def test_goldens_are_of_providers() -> None:
    """None is left behind when a provider goes."""
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == set(ASKED)


def call(*, stream: bool) -> Call:
    """Anything that asks for usage."""
    return Call(
        operation=Operation.CHAT, model="asked", body=b"{}", stream=stream, include_usage=stream, created=CREATED
    )


def streamed(name: str, sizes: tuple[int, ...] = ()) -> bytes:
    """The client's stream, and then what was counted."""
    chosen = translator(name, Operation.CHAT)
    assert chosen is not None
    stream, framer = chosen.stream(call(stream=True)), SseFramer(limit=1 << 20)
    out = b""
    try:
        for piece in cut((FOLDER / name / "reply.sse").read_bytes(), sizes):
            for event in framer.feed(piece):
                out += stream.event(event)
        for event in framer.close():
            out += stream.event(event)
        out += stream.close()
    except UpstreamError as error:
        return out + b": raised: " + orjson.dumps(error_fields(error)) + b"\n\n"
    return out + b": usage: " + orjson.dumps(_fields(stream.state.usage)) + b"\n\n"


def _fields(usage: Any) -> dict[str, Any] | None:
    names = ("input", "cached_input", "output", "reasoning")
    return None if usage is None else {name: getattr(usage, name) for name in names}
