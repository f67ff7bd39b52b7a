"""No kortex.yaml: the configuration is made from environment variables, and from what the servers they name have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from extproc.config.glob import is_glob
from extproc.config.problems import ConfigError, Problem
from extproc.config.scalars import is_loopback, parse_address
from extproc.providers.registry import PROVIDERS
from extproc.server.listed_models import can_list, list_models
from extproc.server.switched_on import BUILT_IN, Found, switched_on

LISTEN: Final = "KORTEX_LISTEN"
ADMIN: Final = "KORTEX_ADMIN"
AUTH: Final = "KORTEX_AUTH"
KEY: Final = "KORTEX_API_KEY"

_LOOPBACK: Final = "127.0.0.1:0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroConfig:
    """A configuration nobody wrote. ``text`` is what kortex.yaml would hold, in JSON, without any secret.

    ``sources`` says for each backend which variables it comes from, or ``built in``; ``notes`` are sentences for the
    operator about what was not as expected.
    """

    text: bytes
    sources: Mapping[str, str]
    notes: tuple[str, ...]


async def configure_from_environment(environment: Mapping[str, str], *, system_roots: str) -> ZeroConfig:
    """Every provider whose variable is set becomes a backend; those built into the gateway always are one.

    ``<provider>/*`` leads to each. A bare name leads to the server that lists it, where several do to the first in the
    registry's order, and otherwise to the provider whose names look like it. Asking the servers takes 2 seconds at
    most; one that does not answer is noted. ``system_roots`` is the PEM bundle their certificates are checked with.

    Raises ConfigError when an address to listen at is none.
    """
    notes: list[str] = []
    found = [one for provider in PROVIDERS.values() for one in switched_on(provider, environment, notes)]
    listed = await list_models([one for one in found if can_list(one)], environment, system_roots, notes)
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


def _routes(found: Iterable[Found], listed: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, Any]]:
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


def _alternatives() -> str:
    switches = [
        provider.environment.url or provider.environment.key or " with ".join(provider.environment.together)
        for provider in PROVIDERS.values()
        if provider.environment is not None
    ]
    names = [name for name in switches if name]
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)
