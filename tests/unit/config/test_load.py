"""kortex.yaml as a whole: what a good one means, and every problem of a bad one, at once, in the operator's words."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.config import yaml_text
from extproc.config.backends import Backend
from extproc.config.gateway import Config
from extproc.config.load import ConfigError, load
from extproc.config.yaml_text import read

Settings = Mapping[str, type[Backend]]
_BACKEND_KEYS = [str(field.alias) for field in Backend.model_fields.values()]

_GOOD: dict[str, Any] = {
    "gateway": {
        "listen": ":8080",
        "auth": "none",
        "bodyLimit": "1MiB",
        "timeouts": {"idle": "5s"},
        "retries": {"perBackend": 0},
    },
    "backends": {
        "one": {"provider": "plain", "url": "http://one/v1/", "model": "m", "forwardHeaders": ["X-Trace"]},
        "two": {"provider": "hosted", "apiKey": {"env": "TWO_KEY"}},
        "three": {"provider": "tuned", "url": "http://three", "verbose": True, "patience": 1.5, "labels": {"a": "b"}},
    },
    "routes": {
        "all": {
            "models": ["x/*", "exact"],
            "defaultBackend": {"name": "one"},
            "fallback": {"backends": ["two", "three"]},
            "stripPrefix": "x/",
            "retries": {"backoff": "50ms"},
            "timeouts": {"firstToken": "2s"},
        }
    },
}


def _text(config: object) -> bytes:
    return yaml.safe_dump(config, sort_keys=False).encode()


def _problems(text: str | bytes, settings: Settings) -> list[str]:
    """Every problem, as it is printed behind the file's name."""
    with pytest.raises(ConfigError) as refusal:
        load(text if isinstance(text, bytes) else text.encode(), settings)
    return [str(problem) for problem in refusal.value.problems]


def test_an_empty_file_is_the_defaults_when_loaded(settings: Settings) -> None:
    """It is no mistake, but hardly meant: every model is unknown."""
    loaded = load(b"# nothing yet\n", settings)
    assert loaded.config == Config()
    assert [warning.message for warning in loaded.warnings] == ["nothing is served: there are no routes"]


def test_a_good_file_is_typed_values_when_loaded(settings: Settings) -> None:
    """Each backend has its provider's own type; units and defaults are applied."""
    loaded = load(_text(_GOOD), settings)
    config = loaded.config
    assert loaded.warnings == ()
    assert type(config) is Config
    assert {name: type(backend) for name, backend in config.backends.items()} == {
        "one": settings["plain"],
        "two": settings["hosted"],
        "three": settings["tuned"],
    }
    assert config.gateway.listen == "0.0.0.0:8080"
    assert config.gateway.body_limit == 1 << 20
    assert config.gateway.timeouts.idle == 5_000
    assert config.gateway.admin == "127.0.0.1:9090"
    assert config.backends["one"].url == "http://one/v1"
    assert config.backends["one"].forward_headers == ("x-trace",)
    assert config.backends["two"].url == "https://api.hosted.example/v1"
    assert config.routes["all"].default_backend.name == "one"
    assert config.routes["all"].retries.backoff == 50


def test_two_loads_are_equal_when_the_text_is(settings: Settings) -> None:
    """So that a reload can tell whether anything changed."""
    assert load(_text(_GOOD), settings).config == load(_text(_GOOD), settings).config


def test_the_effective_config_loads_again_when_written(settings: Settings) -> None:
    """What `/config` shows is a config, the providers' own keys included."""
    shown = load(_text(_GOOD), settings).config.redacted()
    assert shown["backends"]["three"]["verbose"] is True
    assert load(_text(shown), settings).config == load(_text(_GOOD), settings).config


_B = "backends: {b: {provider: plain, url: 'http://b'}}\n"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        pytest.param(
            "- a",
            [
                (
                    "1: must be a mapping, with the keys "
                    "gateway, backends, routes, ledger, keys, keysFile, limits, budgets, quota"
                )
            ],
            id="no-mapping",
        ),
        pytest.param("bakends: {}", ['1: unknown key "bakends", did you mean "backends"?'], id="section-misspelled"),
        pytest.param(
            "xyz: {}",
            [
                (
                    '1: unknown key "xyz", '
                    "the keys here are backends, budgets, gateway, keys, keysFile, ledger, limits, quota, routes"
                )
            ],
            id="section-unknown",
        ),
        pytest.param("gateway:", ["1: gateway: has no value, give it one or leave the key out"], id="no-value"),
        pytest.param("backends: []", ["1: backends: must be a mapping"], id="section-is-a-list"),
        pytest.param("gateway: {maxConnections: '5'}", ["1: gateway.maxConnections: must be a whole number"], id="int"),
        pytest.param(
            "gateway: {maxConnections: true}", ["1: gateway.maxConnections: must be a whole number"], id="bool"
        ),
        pytest.param("gateway: {maxConnections: 0}", ["1: gateway.maxConnections: must be at least 1"], id="bound"),
        pytest.param("gateway: {bodyLimit: 2GiB}", ["1: gateway.bodyLimit: must be at most 1GiB"], id="bound-of-size"),
        pytest.param(
            "gateway: {timeouts: {idle: 0s}}",
            ["1: gateway.timeouts.idle: must be at least 1ms"],
            id="bound-of-duration",
        ),
        pytest.param(
            "gateway: {drain: 30}",
            ["1: gateway.drain: a duration is a number with a unit, such as 500ms, 10s, 5m or 1h"],
            id="duration-without-unit",
        ),
        pytest.param(
            "gateway: {logLevel: verbose}",
            ["1: gateway.logLevel: must be 'debug', 'info', 'warning' or 'error'"],
            id="choice",
        ),
        pytest.param("gateway: {accessLog: 'yes'}", ["1: gateway.accessLog: must be true or false"], id="truth"),
        pytest.param(
            "gateway:\n  listen: localhost:1\n  listen: localhost:2",
            ['3: gateway: the key "listen" stands twice, first in line 2'],
            id="equal-keys",
        ),
        pytest.param("1: x", ["1: a key that is not text, put it in quotes"], id="key-is-a-number"),
        pytest.param(
            "gateway: !env X",
            ["1: gateway: a tag (!…) has no meaning here, leave it out, or put the text in quotes"],
            id="tag-and-nothing-that-follows-from-it",
        ),
        pytest.param(
            "backends: {-b: {provider: plain, url: 'http://b'}}\n"
            "routes: {r: {models: [m], defaultBackend: {name: -b}}}",
            ['1: backends: "-b" is no name: up to 63 letters, digits, ".", "_" or "-", no sign at either end'],
            id="name",
        ),
    ],
)
def test_an_entry_is_named_with_its_fault_when_it_is_wrong(text: str, problems: list[str], settings: Settings) -> None:
    """Its line, its path, what is wrong, and what would be right."""
    assert _problems(text, settings) == problems


@pytest.mark.parametrize(
    ("backend", "problems"),
    [
        pytest.param("5", ["b: must be a mapping"], id="no-mapping"),
        pytest.param(
            "{}", ['b: the key "provider" is missing, the providers are hosted, plain, tuned'], id="no-provider"
        ),
        pytest.param(
            "{provider: 5}",
            ["b.provider: must be the name of a provider, the providers are hosted, plain, tuned"],
            id="provider-is-no-text",
        ),
        pytest.param(
            "{provider: Hosted}",
            ['b.provider: unknown provider "Hosted", did you mean "hosted"?'],
            id="provider-in-capitals",
        ),
        pytest.param(
            "{provider: xyz}",
            ['b.provider: unknown provider "xyz", the providers are hosted, plain, tuned'],
            id="provider-unknown",
        ),
        pytest.param(
            "{provider: xyz, urll: 'http://b', maxOutput: 0, healthCheck: {interval: 5 s}, forwardHeaders: [cookie]}",
            [
                'b: unknown key "urll", did you mean "url"?',
                "b.forwardHeaders: the header 'cookie' is never forwarded to a provider",
                (
                    "b.healthCheck.interval: '5 s' is not a duration: "
                    "write a number with a unit, such as 500ms, 10s, 5m or 1h"
                ),
                "b.maxOutput: must be at least 1",
                'b.provider: unknown provider "xyz", the providers are hosted, plain, tuned',
            ],
            id="provider-unknown-and-more-is-wrong",
        ),
        pytest.param(
            "{provider: xyz, verbose: true, quiet: true}",
            [
                'b: unknown key "quiet"',
                'b.provider: unknown provider "xyz", the providers are hosted, plain, tuned',
            ],
            id="a-key-that-some-provider-has",
        ),
        pytest.param(
            "{model: 5}",
            [
                'b: the key "provider" is missing, the providers are hosted, plain, tuned',
                "b.model: must be text, put it in quotes",
            ],
            id="no-provider-and-more-is-wrong",
        ),
        pytest.param("{provider: plain}", ['b: the key "url" is missing'], id="key-missing"),
        pytest.param(
            "{provider: plain, url: 'http://b', verbose: true}",
            [f'b: unknown key "verbose", the keys here are {", ".join(sorted(_BACKEND_KEYS))}'],
            id="another-providers-key",
        ),
        pytest.param(
            "{provider: plain, url: 'http://b', model: 4}",
            ["b.model: must be text, put it in quotes"],
            id="number-for-text",
        ),
        pytest.param("{provider: plain, url: 'http://b', model: [a]}", ["b.model: must be text"], id="list-for-text"),
        pytest.param("{provider: plain, url: 'http://b', model: ''}", ["b.model: must not be empty"], id="empty-text"),
        pytest.param(
            "{provider: plain, url: 'http://b', forwardHeaders: x-a}",
            ["b.forwardHeaders: must be a list, write [one, another], or each in a line of its own behind a dash"],
            id="text-for-list",
        ),
        pytest.param(
            "{provider: hosted, apiKey: [x]}",
            ["b.apiKey: must be a mapping, a secret is {env: NAME} or {file: PATH}"],
            id="list-for-secret",
        ),
        pytest.param(
            "{provider: tuned, url: 'http://b', patience: 0}", ["b.patience: must be greater than 0"], id="rarer-rule"
        ),
        pytest.param(
            "{provider: tuned, url: 'http://b', login: {kind: key}}",
            ['b.login: the key "key" is missing'],
            id="variant",
        ),
        pytest.param(
            "{provider: tuned, url: 'http://b', login: {kind: role, role: 5}}",
            ["b.login.role: must be text, put it in quotes"],
            id="value-in-a-variant",
        ),
    ],
)
def test_a_backend_is_checked_as_its_providers_when_it_is_wrong(
    backend: str, problems: list[str], settings: Settings
) -> None:
    """By the model of the provider that it names."""
    text = f"backends:\n  b: {backend}\nroutes: {{r: {{models: [m], defaultBackend: {{name: b}}}}}}"
    assert _problems(text, settings) == [f"2: backends.{problem}" for problem in problems]


@pytest.mark.parametrize(
    ("route", "problems"),
    [
        pytest.param("{}", ['r: the key "defaultBackend" is missing', 'r: the key "models" is missing'], id="empty"),
        pytest.param("{models: [], defaultBackend: {name: b}}", ["r.models: needs at least one entry"], id="no-models"),
        pytest.param(
            "{models: [5], defaultBackend: {name: b}}",
            ["r.models[0]: must be text, put it in quotes"],
            id="wrong-model",
        ),
        pytest.param(
            "{models: [m], defaultBackend: b}",
            ["r.defaultBackend: must be a mapping, with the keys name, weight"],
            id="short-form",
        ),
        pytest.param(
            "{models: [m], defaultBackend: {name: bb}}",
            ['r.defaultBackend.name: there is no backend "bb", did you mean "b"?'],
            id="unknown-default",
        ),
        pytest.param(
            "{models: [m], defaultBackend: {name: b}, fallback: {backends: [b, xyz, 5]}}",
            [
                'r.fallback.backends[1]: there is no backend "xyz", the backends are b',
                "r.fallback.backends[2]: must be text, put it in quotes",
            ],
            id="unknown-fallback",
        ),
        pytest.param(
            "{models: [m], defaultBackend: {name: b}, fallback: {backends: []}}",
            ["r.fallback.backends: needs at least one entry"],
            id="empty-fallback",
        ),
        pytest.param(
            "{models: [m], defaultBackend: {name: b}, fallback: {backends: [b]}}",
            ['r.fallback.backends[0]: the only fallback is "b", the default backend itself'],
            id="fallback-to-itself",
        ),
        pytest.param(
            "{models: [m], defaultBackend: {name: b}, fallback: {backends: [b, b]}}",
            ['r.fallback.backends[1]: "b" stands twice in this list'],
            id="fallback-twice",
        ),
        pytest.param(
            "{models: [m, m], defaultBackend: {name: b}}",
            ['r.models[1]: "m" is already at routes.r.models[0]'],
            id="model-twice",
        ),
        pytest.param("{models: [''], defaultBackend: {name: b}}", ["r.models[0]: must not be empty"], id="empty-model"),
        pytest.param(
            "{models: [' m'], defaultBackend: {name: b}}",
            ["r.models[0]: has white space around it, or characters that do not print"],
            id="untidy-model",
        ),
        pytest.param(
            '{models: ["m\\u200b"], defaultBackend: {name: b}}',
            ["r.models[0]: has white space around it, or characters that do not print"],
            id="invisible-character",
        ),
        pytest.param(
            "{models: ['gpt-**'], defaultBackend: {name: b}}",
            ["r.models[0]: has two stars in a row, where one matches everything"],
            id="two-stars",
        ),
        pytest.param(
            f"{{models: [{'m' * 257}], defaultBackend: {{name: b}}}}",
            ["r.models[0]: is longer than 256 characters"],
            id="long-model",
        ),
        pytest.param(
            "{models: [m, 'a?x/*'], defaultBackend: {name: b}, stripPrefix: x/}",
            ['r.stripPrefix: none of the route\'s models begins with "x/"'],
            id="prefix-of-nothing",
        ),
        pytest.param(
            "{models: [m], defaultBackend: {name: bb}, fallbak: {}, timeouts: {idel: 5s}, retries: 5}",
            [
                'r: unknown key "fallbak", did you mean "fallback"?',
                'r.defaultBackend.name: there is no backend "bb", did you mean "b"?',
                "r.retries: must be a mapping, with the keys perBackend, backoff",
                'r.timeouts: unknown key "idel", did you mean "idle"?',
            ],
            id="everything-at-once",
        ),
    ],
)
def test_a_route_is_refused_when_it_leads_nowhere(route: str, problems: list[str], settings: Settings) -> None:
    """Each of these would be an error at some client's request."""
    assert _problems(f"{_B}routes:\n  r: {route}", settings) == [f"3: routes.{problem}" for problem in problems]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        pytest.param(
            "routes:\n  r: {models: [m], defaultBackend: {name: b}}",
            ['2: routes.r.defaultBackend.name: there is no backend "b", the backends are none'],
            id="route-without-backends",
        ),
        pytest.param(
            "backends: 5\nroutes: {r: {models: [m], defaultBackend: {name: b}}}",
            ["1: backends: must be a mapping"],
            id="backends-unreadable",
        ),
        pytest.param(
            "backends: !x {b: 1}\nroutes: {r: {models: [m], defaultBackend: {name: b}}}",
            ["1: backends: a tag (!…) has no meaning here, leave it out, or put the text in quotes"],
            id="backends-damaged",
        ),
        pytest.param(
            _B,
            [
                (
                    '1: backends: backends exist but no route leads to them, add one under "routes", such as '
                    'all: {models: ["*"], defaultBackend: {name: …}}'
                )
            ],
            id="backends-without-route",
        ),
        pytest.param(f"{_B}routes: 5", ["2: routes: must be a mapping"], id="routes-unreadable"),
        pytest.param(
            f"{_B}routes:\n  r: {{models: [m], defaultBackend: {{name: b}}}}\n  s: {{models: [n, m], "
            "defaultBackend: {name: b}}",
            ['4: routes.s.models[1]: "m" is already at routes.r.models[0]'],
            id="model-in-two-routes",
        ),
        pytest.param(
            "gateway: {listen: '127.0.0.1:1', admin: '127.0.0.1:1'}",
            ["1: gateway: listen and admin are both on port 1, give them different ports"],
            id="same-address",
        ),
        pytest.param(
            "gateway: {listen: ':9090', auth: none}",
            ["1: gateway: listen and admin are both on port 9090, give them different ports"],
            id="every-interface-and-the-default",
        ),
        pytest.param(
            "gateway: {listen: 'localhost:1', admin: '[::1]:1'}",
            ["1: gateway: listen and admin are both on port 1, give them different ports"],
            id="two-names-of-this-host",
        ),
        pytest.param(
            "gateway: {listen: x, admin: y}",
            [
                "1: gateway.admin: 'y' is not an address: write host:port, such as 127.0.0.1:8080",
                "1: gateway.listen: 'x' is not an address: write host:port, such as 127.0.0.1:8080",
            ],
            id="addresses-unreadable",
        ),
    ],
)
def test_parts_are_refused_when_they_do_not_fit_together(text: str, problems: list[str], settings: Settings) -> None:
    """And nothing is said twice when a part cannot be read at all."""
    assert _problems(text, settings) == problems


@pytest.mark.parametrize(
    "gateway",
    [
        pytest.param("{listen: '127.0.0.1:1', admin: '127.0.0.1:2'}", id="two-ports"),
        pytest.param("{listen: '10.0.0.1:1', admin: '127.0.0.1:1', auth: none}", id="two-interfaces"),
        pytest.param("{listen: '127.0.0.1:0', admin: '127.0.0.1:0'}", id="free-ports"),
    ],
)
def test_listeners_are_taken_when_they_do_not_clash(gateway: str, settings: Settings) -> None:
    """Port 0 takes a free one each time."""
    written = _text(_GOOD | {"gateway": read(gateway.encode()).root.plain()})
    assert load(written, settings).warnings == ()


@pytest.mark.parametrize(
    ("models", "prefix"),
    [
        pytest.param(["x/gpt"], "x/", id="name"),
        pytest.param(["gpt", "x/*"], "x/", id="glob"),
        pytest.param(["*"], "x/", id="glob-that-may-match"),
        pytest.param(["x?gpt"], "x/", id="wildcard-within-the-prefix"),
    ],
)
def test_a_prefix_is_taken_when_a_model_may_begin_with_it(models: list[str], prefix: str, settings: Settings) -> None:
    """A glob need not spell it out."""
    config = copy.deepcopy(_GOOD)
    config["routes"]["all"] |= {"models": models, "stripPrefix": prefix}
    assert load(_text(config), settings).config.routes["all"].strip_prefix == prefix


@pytest.mark.parametrize(
    ("models", "warnings"),
    [
        pytest.param("[m]", ["3: backends.spare: no route uses this backend"], id="unused-backend"),
        pytest.param(
            "['gpt-[45]*', 'claude[1m]']",
            [
                "3: backends.spare: no route uses this backend",
                (
                    '4: routes.r.models[0]: brackets and braces in "gpt-[45]*" stand for themselves, '
                    "only * and ? are wildcards"
                ),
            ],
            id="brackets-in-a-glob",
        ),
    ],
)
def test_a_config_is_taken_with_a_warning_when_it_is_hardly_meant(
    models: str, warnings: list[str], settings: Settings
) -> None:
    """It works, so it is no error."""
    text = f"""backends:
  b: {{provider: plain, url: "http://b"}}
  spare: {{provider: plain, url: "http://spare"}}
routes: {{r: {{models: {models}, defaultBackend: {{name: b}}}}}}
"""
    assert [str(warning) for warning in load(text.encode(), settings).warnings] == warnings


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param("sk-hunter2", id="inline"),
        pytest.param("'sk-hunter2'", id="quoted"),
        pytest.param("20777", id="number"),
        pytest.param("[sk-hunter2]", id="list"),
        pytest.param("{sk-hunter2}", id="as-a-key"),
        pytest.param("{env: sk-hunter2}", id="as-the-variables-name"),
        pytest.param("{env: [sk-hunter2]}", id="list-as-the-variables-name"),
        pytest.param("{env: A, sk-hunter2: B}", id="beside-the-variables-name"),
        pytest.param("{env: HUNTER2_KEY, file: sk-hunter2}", id="two-sources"),
        pytest.param("!sk-hunter2", id="tag"),
        pytest.param("!sk!hunter2 x", id="tag-with-handle"),
        pytest.param("*sk-hunter2", id="alias"),
        pytest.param("&a sk-hunter2\n    model: &a [sk-hunter2]", id="anchors"),
        pytest.param("sk: hunter2: x", id="broken"),
        pytest.param("'sk-hunter2", id="open-quote"),
        pytest.param("|\n      sk-hunter2", id="block"),
    ],
)
def test_a_secret_is_not_repeated_when_it_is_written_in_the_file(secret: str, settings: Settings) -> None:
    """Whatever way it is written, the errors go to logs."""
    text = f"backends:\n  b:\n    provider: hosted\n    apiKey: {secret}\n"
    assert "hunter2" not in "\n".join(_problems(text, settings))


def test_text_that_is_not_unicode_is_refused_when_only_the_slower_parser_is_there(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The C parser refuses half a surrogate pair itself; PyYAML's own parser lets it through."""
    monkeypatch.setattr(yaml_text, "_LOADER", yaml.SafeLoader)
    assert _problems('gateway: {listen: "\\ud800"}', settings) == ["1: holds text that is not Unicode"]


def _paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, child in children for deeper in _paths(child, (*path, key)))]


_VALUES = st.sampled_from(
    [None, True, -1, 0, 2**70, 1.5, "", "x", "b", "5s", "*", "http://b", [], ["x"], [5], {}, {"a": 1}]
)


@settings(max_examples=150)
@given(path=st.sampled_from(_paths(_GOOD)), value=_VALUES)
def test_any_change_is_taken_or_explained_when_loaded(path: tuple[Any, ...], value: object, settings: Settings) -> None:
    """No other exception, and a problem is always within the file, with words of its own."""
    config: Any = copy.deepcopy(_GOOD)
    if path:
        around = config
        for step in path[:-1]:
            around = around[step]
        around[path[-1]] = value
    else:
        config = value
    text = _text(config)
    try:
        load(text, settings)
    except ConfigError as refusal:
        for problem in refusal.problems:
            assert problem.line is not None
            assert 1 <= problem.line <= text.count(b"\n")
            assert problem.message
            assert "Input" not in problem.message
