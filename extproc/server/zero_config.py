"""No kortex.yaml: the configuration is made from environment variables, and from what the servers they name have."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson
from pydantic import ValidationError

from extproc.config.backends import Backend
from extproc.config.glob import is_glob
from extproc.config.problems import ConfigError, Problem
from extproc.config.scalars import is_loopback, parse_address
from extproc.openai.call import Call, Operation
from extproc.providers.base import OPENAI_PATHS, Environment, Provider
from extproc.providers.registry import PROVIDERS

LISTEN: Final = "KORTEX_LISTEN"
ADMIN: Final = "KORTEX_ADMIN"
AUTH: Final = "KORTEX_AUTH"
KEY: Final = "KORTEX_API_KEY"
BUILT_IN: Final = "built in"

_LOOPBACK: Final = "127.0.0.1:0"
_ASK_SECONDS: Final = 2.0
_MOST_NAMES: Final = 200
_LONGEST_NAME: Final = 256
_LARGEST_REPLY: Final = 4 << 20
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_WILDCARDS: Final = frozenset("*?[]{}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroConfig:
    """A configuration nobody wrote. ``text`` is what kortex.yaml would hold, in JSON, without any secret.

    ``sources`` says for each backend which variables it comes from, or ``built in``; ``notes`` are sentences for the
    operator about what was not as expected.
    """

    text: bytes
    sources: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A provider that the environment switches on, with the backend's entry as it would be written."""

    provider: Provider[Any]
    environment: Environment
    source: str
    entry: Mapping[str, Any]
    settings: Backend


async def configure_from_environment(environment: Mapping[str, str], *, system_roots: str) -> ZeroConfig:
    """Every provider whose variable is set becomes a backend; those built into the gateway always are one.

    ``<provider>/*`` leads to each. A bare name leads to the server that lists it, where several do to the first in the
    registry's order, and otherwise to the provider whose names look like it. Asking the servers takes 2 seconds at
    most; one that does not answer is noted. ``system_roots`` is the PEM bundle their certificates are checked with.

    Raises ConfigError when an address to listen at is none.
    """
    notes: list[str] = []
    found = [one for provider in PROVIDERS.values() for one in _switched_on(provider, environment, notes)]
    listed = await _ask_all([one for one in found if _can_list(one)], environment, system_roots, notes)
    key = {"keys": [{"name": "default", "secret": {"env": KEY}}]} if environment.get(KEY, "").strip() else {}
    config = {
        "gateway": _gateway(environment),
        **key,
        "backends": {one.provider.name: one.entry for one in found},
        "routes": _routes(found, listed),
    }
    if all(one.source == BUILT_IN for one in found):
        notes.append(f"no provider yet: set {_alternatives()} and start again, or write a kortex.yaml")
    return ZeroConfig(
        text=orjson.dumps(config, option=orjson.OPT_INDENT_2),
        sources={one.provider.name: one.source for one in found},
        notes=tuple(notes),
    )


def _gateway(environment: Mapping[str, str]) -> dict[str, str]:
    """The addresses, and whether nobody is to be asked for a key, where the environment says so."""
    auth = environment.get(AUTH, "").strip()
    found = {"auth": auth} if auth else {}
    problems: list[Problem] = []
    for key, variable in (("listen", LISTEN), ("admin", ADMIN)):
        value = environment.get(variable, "").strip()
        if value:
            try:
                found[key] = str(parse_address(value))
            except ValueError as error:
                problems.append(Problem(path=variable, message=str(error)))
    if problems:
        raise ConfigError(tuple(problems))
    if not is_loopback(found.get("listen", _LOOPBACK)) and not auth and not environment.get(KEY, "").strip():
        message = f"{found['listen']} can be reached from other machines, and nobody is asked for a key"
        hint = f"set {KEY} to one, or {AUTH}=none if that is meant"
        raise ConfigError((Problem(path=LISTEN, message=message, hint=hint),))
    return found


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


def _switched_on(provider: Provider[Any], environment: Mapping[str, str], notes: list[str]) -> Iterator[_Found]:
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
        yield _Found(
            provider=provider,
            environment=variables,
            source=", ".join(given) or BUILT_IN,
            entry=entry,
            settings=settings,
        )


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


def _routes(found: Iterable[_Found], listed: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, Any]]:
    """A name of one's own first, then what servers list, then what names look like."""
    taken: set[str] = set()
    names: dict[str, list[str]] = {one.provider.name: [] for one in found}

    def claim(provider: str, wanted: Iterable[str]) -> None:
        free = [name for name in dict.fromkeys(wanted) if name not in taken]
        taken.update(free)
        names[provider].extend(free)

    for one in found:
        claim(one.provider.name, (name for name in one.environment.models if not is_glob(name)))
    for one in found:
        claim(one.provider.name, listed.get(one.provider.name, ()))
    for one in found:
        claim(one.provider.name, (name for name in one.environment.models if is_glob(name)))
    routes: dict[str, dict[str, Any]] = {}
    for one in found:
        name = one.provider.name
        if names[name]:
            routes[name] = {"models": names[name], "defaultBackend": {"name": name}}
        if one.source != BUILT_IN:
            routes[f"{name}-by-prefix"] = {
                "models": [f"{name}/*"],
                "stripPrefix": f"{name}/",
                "defaultBackend": {"name": name},
            }
    return routes


def _can_list(found: _Found) -> bool:
    chat = found.provider.translator(Operation.CHAT, found.settings, "")
    return found.provider.answer is None and chat is not None and found.environment.lists


async def _ask_all(
    found: Iterable[_Found], environment: Mapping[str, str], system_roots: str, notes: list[str]
) -> dict[str, tuple[str, ...]]:
    """The names of each server that answers in time."""
    servers = list(found)
    if not servers:
        return {}
    trust = ssl.create_default_context(cafile=system_roots)
    # What Envoy will not go through, the question must not go through either: no proxies.
    async with httpx.AsyncClient(verify=trust, trust_env=False, timeout=_ASK_SECONDS) as client:
        answers = await asyncio.gather(*(_ask(client, one, environment) for one in servers))
    listed: dict[str, tuple[str, ...]] = {}
    for one, answer in zip(servers, answers, strict=True):
        name = one.provider.name
        if isinstance(answer, str):
            notes.append(f"{name} did not list its models ({answer}): ask for them as {name}/<model>")
        else:
            listed[name] = answer
    return listed


async def _ask(client: httpx.AsyncClient, one: _Found, environment: Mapping[str, str]) -> tuple[str, ...] | str:
    """Its models, or why it has none to tell."""
    key = environment.get(one.environment.key, "").strip() if one.environment.key else ""
    headers = dict(one.provider.authorize(one.settings, key or None))
    url = _models_url(one)
    try:
        async with asyncio.timeout(_ASK_SECONDS), client.stream("GET", url, headers=headers) as reply:
            if reply.status_code != httpx.codes.OK:
                return f"status {reply.status_code}"
            return _model_names(await _bounded(reply))
    except TimeoutError:
        return f"no answer within {_ASK_SECONDS:.0f} s"
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        return _kind(error)
    except ValueError:
        return "its answer is no list of models"


async def _bounded(reply: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in reply.aiter_bytes():
        body += piece
        if len(body) > _LARGEST_REPLY:
            message = "too long"
            raise ValueError(message)
    return bytes(body)


def _models_url(one: _Found) -> str:
    """https://platform.openai.com/docs/api-reference/models/list, mostly beside the other operations."""
    if one.provider.models_path is not None:
        return urlsplit(one.settings.url)._replace(path=one.provider.models_path(one.settings)).geturl()
    chat = one.provider.path(one.settings, Call(operation=Operation.CHAT, model="", body=b""), "")
    path = chat.removesuffix(OPENAI_PATHS[Operation.CHAT]) + "/models"
    return urlsplit(one.settings.url)._replace(path=path).geturl()


def _model_names(body: bytes) -> tuple[str, ...]:
    """The ids that can be a model's name in a route. Raises ValueError for what is no list of models."""
    match orjson.loads(body):
        case {"data": [*entries]}:
            ids = [entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
            return tuple(filter(_is_name, ids))[:_MOST_NAMES]
        case {"data": None}:  # Ollama without a model
            return ()
        case {"models": [*entries]}:  # Google's own list, where every name begins with "models/"
            named = [str(entry.get("name")) for entry in entries if isinstance(entry, dict)]
            return tuple(filter(_is_name, (name.removeprefix("models/") for name in named)))[:_MOST_NAMES]
    message = "no list of models"
    raise ValueError(message)


def _is_name(text: str) -> bool:
    tidy = text == text.strip() and text.isprintable() and 0 < len(text) <= _LONGEST_NAME
    return tidy and _WILDCARDS.isdisjoint(text)


def _kind(error: Exception) -> str:
    """What went wrong, in words that hold no URL and no header."""
    match error:
        case httpx.TimeoutException():
            return f"no answer within {_ASK_SECONDS:.0f} s"
        case httpx.ConnectError():
            return "cannot connect"
        case _:
            return "cannot be asked"


def _alternatives() -> str:
    switches = [
        provider.environment.url or provider.environment.key or " with ".join(provider.environment.together)
        for provider in PROVIDERS.values()
        if provider.environment is not None
    ]
    names = [name for name in switches if name]
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)
