"""``GET /v1/models`` where routes and keys are globs: what is listed can be asked for, by whoever sees it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from extproc.admission.caller import ANONYMOUS
from extproc.admission.keyring import ANYONE, Key
from extproc.config.load import load
from extproc.errors import ModelNotFound
from extproc.exchange.arrival import Answer, arrive, plan_call
from extproc.exchange.listing import shown_models
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.headers import Headers
from extproc.providers.registry import PROVIDERS, SETTINGS

NOON = 1_795_608_000.0
OPENAI = {"provider": "openai", "apiKey": {"env": "K"}}
BACKENDS: dict[str, Any] = {
    "openai": OPENAI,
    "gpt-4o": {**OPENAI, "model": "gpt-4o"},
    "proxy": {**OPENAI, "url": "http://proxy.test"},
    "claude": {"provider": "anthropic", "apiKey": {"env": "K"}},
    "gemini": {"provider": "gemini", "apiKey": {"env": "K"}},
    "groq": {"provider": "groq", "apiKey": {"env": "K"}},
    "azure": {"provider": "azure", "url": "https://one.openai.azure.com", "apiKey": {"env": "K"}},
    "demo": {"provider": "demo"},
}


def compiled(**routes: dict[str, Any]) -> Snapshot:
    """Each route with a backend, by name or as ``defaultBackend``."""
    written = {
        "backends": BACKENDS,
        "routes": {
            name: {"defaultBackend": {"name": route["to"]}, **{key: route[key] for key in route if key != "to"}}
            for name, route in routes.items()
        },
    }
    config = load(orjson.dumps(written), SETTINGS).config
    return compile_snapshot(
        config,
        number=1,
        loaded_at=NOON,
        providers=PROVIDERS,
        credentials=dict.fromkeys(config.backends, lambda: "secret"),
    )


def key(*models: str, routes: tuple[str, ...] | None = None) -> Key:
    """What a caller may use."""
    return Key(caller=ANONYMOUS, models=models or None, routes=None if routes is None else frozenset(routes))


def listed(snapshot: Snapshot, caller: Key = ANYONE) -> list[str]:
    """The names, each of which the caller may ask for, and no other gateway's."""
    names = [name for name, _ in shown_models(snapshot.models, caller, snapshot.route)]
    assert len(set(names)) == len(names)
    for name in names:
        body = orjson.dumps({"model": name, "messages": [{"role": "user", "content": "hi"}]})
        headers = Headers([(":method", "POST"), (":path", "/v1/chat/completions")])
        plan_call(headers, body, snapshot=snapshot, now=lambda: NOON, exchange="e", decision_id="d", key=caller)
    return names


def test_what_is_sold_is_listed_when_nobody_has_named_a_model() -> None:
    """By the price list, as far as the glob goes."""
    names = listed(compiled(r={"models": ["gpt-4*"], "to": "openai"}))
    assert {"gpt-4o", "gpt-4.1-mini", "gpt-4-turbo"} <= set(names)
    assert all(name.startswith("gpt-4") for name in names)


def test_key_of_globs_sees_what_its_globs_fit() -> None:
    """Of what the route has; a single model that fits is there, whether or not it is listed."""
    snapshot = compiled(r={"models": ["gpt-*"], "to": "openai"}, s={"models": ["claude-*"], "to": "claude"})
    names = listed(snapshot, key("gpt-4o*"))
    assert "gpt-4o-mini" in names
    assert all(name.startswith("gpt-4o") for name in names)
    assert {name.partition("-")[0] for name in listed(snapshot, key(routes=("s",)))} == {"claude"}
    assert listed(snapshot, key("llama*")) == []
    anybody = Headers([(":method", "GET"), (":path", "/v1/models/gpt-4-not-listed")])
    assert "gpt-4-not-listed" not in names
    answer = arrive(anybody, has_body=False, snapshot=snapshot, now=NOON)
    assert isinstance(answer, Answer)
    assert orjson.loads(answer.body)["id"] == "gpt-4-not-listed"
    absent = Headers([(":method", "GET"), (":path", "/v1/models/llama")])
    with pytest.raises(ModelNotFound):
        arrive(absent, has_body=False, snapshot=snapshot, now=NOON)


@pytest.mark.parametrize(
    ("route", "names"),
    [
        pytest.param({"models": ["*"], "to": "gpt-4o"}, ["gpt-4o"], id="its-backends-model"),
        pytest.param({"models": ["o/*"], "stripPrefix": "o/", "to": "gpt-4o"}, ["o/gpt-4o"], id="behind-a-prefix"),
        pytest.param({"models": ["x-*"], "to": "gpt-4o"}, [], id="which-the-glob-does-not-fit"),
        pytest.param({"models": ["*"], "to": "proxy"}, [], id="an-address-that-is-nobodys"),
        pytest.param({"models": ["*"], "to": "azure"}, [], id="names-are-the-accounts-own"),
        pytest.param({"models": ["*"], "to": "demo"}, [], id="built-in"),
        pytest.param({"models": ["gpt-4o", "gpt-*"], "to": "openai"}, ["gpt-4o"], id="written-beside-the-glob"),
        pytest.param(
            {
                "models": ["*"],
                "to": "proxy",
                "rules": [{"match": {"model": ["mine", "gpt-*"]}, "backends": [{"name": "gpt-4o"}]}],
            },
            ["mine", "gpt-4o"],
            id="a-rules",
        ),
        pytest.param(
            {
                "models": ["*"],
                "to": "gpt-4o",
                "rules": [{"match": {"model": "gpt-4*"}, "refuse": {"message": "No."}}],
            },
            [],
            id="refused-by-its-name",
        ),
        pytest.param(
            {
                "models": ["*"],
                "to": "gpt-4o",
                "rules": [{"match": {"model": "gpt-4*", "stream": True}, "refuse": {"message": "No."}}],
            },
            ["gpt-4o"],
            id="refused-by-more-than-its-name",
        ),
    ],
)
def test_names_that_are_written_down_are_listed(route: dict[str, Any], names: list[str]) -> None:
    """And nothing else, where they lead to all backends."""
    assert listed(compiled(r=route)) == names


def test_key_sees_its_own_names_when_routes_are_globs() -> None:
    """They are names that somebody wrote down, too; those of no route are not there."""
    snapshot = compiled(r={"models": ["my-*"], "to": "proxy"})
    assert listed(snapshot) == []
    assert listed(snapshot, key("my-model", "other", "my-other*")) == ["my-model"]
    assert listed(snapshot, key("my-model", routes=())) == []


def test_what_is_sold_is_listed_when_a_key_sees_none_of_the_written_names() -> None:
    """Its list would be empty, although it may call."""
    snapshot = compiled(r={"models": ["gpt-4o", "gpt-*"], "to": "openai"})
    assert "gpt-5-mini" in listed(snapshot, key("gpt-5*"))


def test_provider_sells_its_own_models() -> None:
    """The list has Google's Claude, too, which its other address serves; some providers sell everybody's."""
    names = listed(compiled(r={"models": ["*"], "to": "gemini"}))
    assert {name.partition("-")[0] for name in names} == {"gemini", "gemma"}
    assert any("/" in name for name in listed(compiled(r={"models": ["*"], "to": "groq"})))


def test_name_belongs_to_the_route_that_would_serve_it() -> None:
    """The longer glob's; a key of the other route does not see it."""
    snapshot = compiled(r={"models": ["gpt-*"], "to": "openai"}, s={"models": ["gpt-4*"], "to": "gpt-4o"})
    assert [name for name in listed(snapshot) if name.startswith("gpt-4")] == ["gpt-4o"]
    assert not any(name.startswith("gpt-4") for name in listed(snapshot, key(routes=("r",))))
    assert listed(snapshot, key(routes=("s",))) == ["gpt-4o"]
