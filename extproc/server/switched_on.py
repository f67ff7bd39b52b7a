"""Providers that environment variables switch on, each with the backend that they make."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from extproc.config.backends import Backend
from extproc.providers.base import Environment, Provider

BUILT_IN: Final = "built in"

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A provider that the environment switches on, with the backend's entry as it would be written."""

    provider: Provider[Any]
    environment: Environment
    source: str
    entry: Mapping[str, Any]
    settings: Backend


def switched_on(provider: Provider[Any], environment: Mapping[str, str], notes: list[str]) -> Iterator[Found]:
    """None, or the one; ``notes`` gets why there is none although something is set."""
    variables = provider.environment
    if variables is None:
        return
    variables = _with_the_key_that_is_set(variables, environment)
    if not _is_on(variables, environment):
        return
    keys = {variable: key for key, variable in variables.settings}
    named = [name for name in (variables.key, variables.url, variables.base_url, *variables.together, *keys) if name]
    given = [name for name in dict.fromkeys(named) if environment.get(name, "").strip()]
    entry: dict[str, Any] = {"provider": provider.name}
    try:
        for name in given:
            if name == variables.key:
                entry["apiKey"] = {"env": name}
            elif name in keys:
                entry[keys[name]] = environment[name].strip()
            elif name not in variables.together:
                entry["url"] = complete_url(environment[name], _usual_url(provider))
        settings = provider.settings.model_validate(entry)
    except ValidationError as error:
        notes.append(f"{provider.name} is left out: {_reason(error, variables)}")
    except ValueError:
        notes.append(f"{provider.name} is left out: {variables.url or variables.base_url} holds no address")
    else:
        yield Found(
            provider=provider,
            environment=variables,
            source=", ".join(given) or BUILT_IN,
            entry=entry,
            settings=settings,
        )


def complete_url(value: str, usual: str | None) -> str:
    """A server's address as people write it, as a base URL.

    ``OLLAMA_HOST`` and its like also hold what a server listens on: ``0.0.0.0``, ``:11434``, ``gpu-box``. Without a
    scheme it is ``http``, with the port of ``usual`` where none is given; every interface becomes this machine.
    https://github.com/ollama/ollama/blob/main/envconfig/config.go
    """
    text = value.strip()
    port = None
    if not _SCHEME.match(text):
        if _is_bare_ipv6(text):
            text = f"[{text}]"
        text = f"http://{text}"
        port = urlsplit(usual).port if usual else None
    parts = urlsplit(text)
    host, given = parts.hostname or "127.0.0.1", parts.port
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not listened on
    where = f"[{host}]" if ":" in host else host
    number = port if given is None else given
    user, at, _ = parts.netloc.rpartition("@")  # refused by the backend's own check, not silently dropped here
    return parts._replace(netloc=f"{user}{at}{where}" + (f":{number}" if number is not None else "")).geturl()


def _with_the_key_that_is_set(variables: Environment, environment: Mapping[str, str]) -> Environment:
    first, other = (environment.get(name or "", "").strip() for name in (variables.key, variables.other_key))
    return replace(variables, key=variables.other_key) if other and not first else variables


def _is_on(variables: Environment, environment: Mapping[str, str]) -> bool:
    switch = variables.url or variables.key
    if switch is not None and environment.get(switch, "").strip():
        return True
    if variables.together:
        return all(environment.get(name, "").strip() for name in variables.together)
    return switch is None


def _reason(error: ValidationError, variables: Environment) -> str:
    """Which variable is wrong, and how. Values are not repeated: there may be a key among them."""
    first = error.errors(include_input=False, include_url=False)[0]
    names = {**dict(variables.settings), "url": variables.url or variables.base_url, "apiKey": variables.key}
    name = names.get(str(first["loc"][0])) if first["loc"] else None
    if first["type"] == "missing":
        return f"{name or first['loc'][0]} is not set"
    return f"{name or first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}"


def _usual_url(provider: Provider[Any]) -> str | None:
    usual = provider.settings.model_fields["url"].default
    return usual if isinstance(usual, str) else None


def _is_bare_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False
