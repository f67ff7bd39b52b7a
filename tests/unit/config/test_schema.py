"""The JSON Schema of kortex.yaml: valid itself, and of one mind with ``load`` about what an entry may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from extproc.config.backends import Backend
from extproc.config.load import ConfigError, load
from extproc.config.schema import json_schema
from extproc.providers.registry import SETTINGS

Settings = Mapping[str, type[Backend]]

_PLAIN = "provider: plain, url: 'http://b'"
_ROUTE = "routes: {r: {models: [m], defaultBackend: {name: b}}}"


def _load_takes(text: str, settings: Settings) -> bool:
    try:
        load(text.encode(), settings)
    except ConfigError:
        return False
    return True


def _schema_takes(text: str, settings: Settings) -> bool:
    return bool(Draft202012Validator(json_schema(settings)).is_valid(yaml.safe_load(text)))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{}", id="nothing"),
        pytest.param(
            "gateway: {listen: ':8080', auth: none, bodyLimit: 1048576, heapLimit: 1GiB, drain: 1.5m}", id="scalars"
        ),
        pytest.param("gateway: {timeouts: {idle: 5s, total: null}, retries: {perBackend: 0}}", id="nested"),
        pytest.param(f"backends: {{b: {{{_PLAIN}}}}}\n{_ROUTE}", id="backend"),
        pytest.param(f"backends: {{b: {{{_PLAIN}, apiKey: {{env: KEY}}, model: null}}}}\n{_ROUTE}", id="secret"),
        pytest.param(f"backends: {{b: {{provider: hosted, apiKey: {{file: /key}}}}}}\n{_ROUTE}", id="default-url"),
        pytest.param(
            f"backends: {{b: {{provider: tuned, url: 'http://b', verbose: true, patience: 1, labels: {{a: b}}, "
            f"login: {{kind: key, key: {{env: KEY}}}}}}}}\n{_ROUTE}",
            id="providers-own-keys",
        ),
        pytest.param(
            f"backends: {{b: {{{_PLAIN}}}, c: {{{_PLAIN}}}}}\nroutes: {{r: {{models: ['x/*'], stripPrefix: x/, "
            "defaultBackend: {name: b}, fallback: {backends: [c]}, timeouts: {connect: 1s}}}",
            id="route",
        ),
    ],
)
def test_the_schema_takes_a_file_when_load_does(text: str, settings: Settings) -> None:
    """Editors must not underline what works."""
    assert _load_takes(text, settings)
    assert _schema_takes(text, settings)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[]", id="no-mapping"),
        pytest.param("bakends: {}", id="unknown-section"),
        pytest.param("gateway: {listn: ':8080'}", id="unknown-key"),
        pytest.param("gateway: {listen: '8080'}", id="address"),
        pytest.param("gateway: {drain: 30}", id="duration-without-unit"),
        pytest.param("gateway: {drain: 30 s}", id="duration-with-space"),
        pytest.param("gateway: {bodyLimit: 32MB}", id="size"),
        pytest.param("gateway: {maxConnections: '5'}", id="text-for-number"),
        pytest.param("gateway: {maxConnections: 0}", id="bound"),
        pytest.param("gateway: {logLevel: verbose}", id="choice"),
        pytest.param(f"backends: {{b: {{url: 'http://b'}}}}\n{_ROUTE}", id="no-provider"),
        pytest.param(f"backends: {{b: {{provider: xyz, url: 'http://b'}}}}\n{_ROUTE}", id="unknown-provider"),
        pytest.param(f"backends: {{b: {{provider: plain}}}}\n{_ROUTE}", id="no-url"),
        pytest.param(f"backends: {{b: {{provider: hosted}}}}\n{_ROUTE}", id="no-key"),
        pytest.param(f"backends: {{b: {{{_PLAIN}, verbose: true}}}}\n{_ROUTE}", id="another-providers-key"),
        pytest.param(f"backends: {{b: {{{_PLAIN}, context_window: 5}}}}\n{_ROUTE}", id="snake-case"),
        pytest.param(f"backends: {{b: {{{_PLAIN}, apiKey: sk-x}}}}\n{_ROUTE}", id="inline-secret"),
        pytest.param(f"backends: {{b: {{{_PLAIN}, apiKey: {{env: A, file: /b}}}}}}\n{_ROUTE}", id="two-sources"),
        pytest.param(f"backends: {{b: {{{_PLAIN}, apiKey: {{}}}}}}\n{_ROUTE}", id="no-source"),
        pytest.param(f"backends: {{-b: {{{_PLAIN}}}, b: {{{_PLAIN}}}}}\n{_ROUTE}", id="name-of-a-backend"),
        pytest.param(
            f"backends: {{b: {{{_PLAIN}}}}}\nroutes: {{r-: {{models: [m], defaultBackend: {{name: b}}}}}}", id="name"
        ),
        pytest.param(
            f"backends: {{b: {{{_PLAIN}}}}}\nroutes: {{r: {{models: [], defaultBackend: {{name: b}}}}}}", id="models"
        ),
        pytest.param(
            f"backends: {{b: {{{_PLAIN}}}}}\nroutes: {{r: {{models: [m], defaultBackend: b}}}}", id="short-form"
        ),
    ],
)
def test_the_schema_refuses_a_file_when_load_does(text: str, settings: Settings) -> None:
    """Whatever is wrong within one entry."""
    assert not _load_takes(text, settings)
    assert not _schema_takes(text, settings)


def test_the_schema_is_a_schema_when_made_for_the_real_providers() -> None:
    """Of the draft that it names."""
    schema = json_schema(SETTINGS)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


def _entry(schema: Mapping[str, Any], *keys: str) -> Any:
    entry: Any = schema
    for key in keys:
        if "$ref" in entry:
            entry = schema["$defs"][entry["$ref"].rpartition("/")[2]]
        entry = entry[int(key)] if isinstance(entry, list) else entry[key]
    return entry


@pytest.mark.parametrize(
    ("keys", "default"),
    [
        pytest.param("gateway.properties.drain", "30s", id="duration"),
        pytest.param("gateway.properties.bodyLimit", "32MiB", id="size"),
        pytest.param("gateway.properties.retries", {"perBackend": 1, "backoff": "100ms"}, id="retries"),
        pytest.param("backends.additionalProperties.oneOf.1.properties.url", "https://api.hosted.example/v1", id="url"),
        pytest.param("backends.additionalProperties.oneOf.0.properties.url", None, id="required"),
        pytest.param("backends.additionalProperties.oneOf.0.properties.model", None, id="none"),
        pytest.param("backends.additionalProperties.oneOf.0.properties.forwardHeaders", None, id="empty"),
        pytest.param("gateway", None, id="section"),
    ],
)
def test_a_default_stands_as_it_is_written_when_there_is_one(keys: str, default: object, settings: Settings) -> None:
    """With its unit; the gateway's retries and timeouts are those that apply."""
    assert _entry(json_schema(settings), "properties", *keys.split(".")).get("default") == default


@pytest.mark.parametrize(
    ("keys", "description"),
    [
        pytest.param("gateway.properties.listen", "Where clients connect.", id="docstring"),
        pytest.param("backends.additionalProperties.oneOf.0", "A server of one's own; speaks `/v1`.", id="markdown"),
        pytest.param(
            "backends.additionalProperties.oneOf.1.properties.apiKey",
            "The credential sent to this provider and to no other.",
            id="overridden-without-docstring",
        ),
    ],
)
def test_an_entry_is_described_when_it_has_a_docstring(keys: str, description: str, settings: Settings) -> None:
    """Its own, or that of the one it overrides."""
    assert _entry(json_schema(settings), "properties", *keys.split("."))["description"] == description


def test_every_real_key_is_described_when_shown() -> None:
    """An editor shows the sentence beside the key."""
    schema = json_schema(SETTINGS)
    variants = schema["properties"]["backends"]["additionalProperties"]["oneOf"]
    missing = [
        (model["title"], key)
        for model in [schema, *variants, *schema["$defs"].values()]
        for key, entry in model["properties"].items()
        if key != "provider" and not entry.get("description")
    ]
    assert missing == []
