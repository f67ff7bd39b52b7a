"""The operator's config → the config of the run: the same routes, but every provider is a fake on loopback. Pure.

It works on what is written in the file, so that whatever is not named here stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from extproc.config.backends import Backend
from extproc.config.gateway import Config
from extproc.selftest.patience import backoff_of, patience_of

_LISTEN: Final = "127.0.0.1:0"
_SECTIONS: Final = frozenset({"backends", "routes"})
_GATEWAY: Final = frozenset({"bodyLimit", "retries", "timeouts", "circuitBreaker"})
"""What decides about a call of nobody in particular. Callers, limits, books and reports are left out."""
_CREDENTIALS: Final = frozenset({"apiKey", "credentialsFile", "entra", "profile"})
_NOT_OF_BACKENDS: Final = _CREDENTIALS | frozenset(
    {"caFile", "circuitBreaker", "healthCheck", "maxConcurrency", "unpriced", "url"}
)
_NOT_OF_ROUTES: Final = frozenset({"rateLimit", "retries", "timeouts"})
_NEVER: Final = 1_000_000
_OPEN_FOR: Final = "1s"
_OPEN_FOR_AT_MOST: Final = "2s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """Where the run's fakes are. ``ports`` has one for each backend that is reached through the network."""

    ports: Mapping[str, int]
    credential_file: str
    """Holds what every fake gets in place of a credential."""
    google_files: Mapping[str, str]
    """By backend: the credentials with which Google's own library asks a fake for a token."""
    keys: tuple[Mapping[str, Any], ...] = ()
    """The run's callers, where a rule tells callers apart; without any, nobody is asked for a key."""


def rewrite(
    written: Mapping[str, Any], config: Config, staging: Staging, *, stream: bool, breakers: bool
) -> dict[str, Any]:
    """``config`` is what ``written`` means. Without ``breakers`` no failure changes the plan of another call."""
    sections = {name: value for name, value in written.items() if name in _SECTIONS}
    gateway = {name: value for name, value in (written.get("gateway") or {}).items() if name in _GATEWAY}
    gateway |= {
        "listen": _LISTEN,
        "admin": _LISTEN,
        "accessLog": False,
        "logLevel": "error",
        "circuitBreaker": _hurried(gateway.get("circuitBreaker")) if breakers else {"enabled": False},
    }
    backends = {
        name: _backend(entry, config.backends[name], staging, name, breakers=breakers)
        for name, entry in (sections.get("backends") or {}).items()
    }
    routes = {
        name: _route(entry, config, name, stream=stream) for name, entry in (sections.get("routes") or {}).items()
    }
    keys = {"keys": list(staging.keys)} if staging.keys else {}
    return {**sections, **keys, "gateway": gateway, "backends": backends, "routes": routes}


def left_out(written: Mapping[str, Any]) -> tuple[str, ...]:
    """Sections of the file that have no part in the run, by name."""
    gateway = written.get("gateway") or {}
    kept = _GATEWAY | {"listen", "admin", "auth", "accessLog", "logLevel", "drain", "heapLimit", "maxConnections"}
    sections = [name for name in written if name not in _SECTIONS | {"gateway"}]
    return (*sections, *(f"gateway.{name}" for name in gateway if name not in kept))


def _backend(
    entry: Mapping[str, Any], backend: Backend, staging: Staging, name: str, *, breakers: bool
) -> dict[str, Any]:
    kept = {key: value for key, value in entry.items() if key not in _NOT_OF_BACKENDS}
    if name not in staging.ports:
        return kept
    kept["url"] = f"http://127.0.0.1:{staging.ports[name]}{urlsplit(backend.url).path}"
    if name in staging.google_files:
        kept["credentialsFile"] = staging.google_files[name]
    else:
        kept["apiKey"] = {"file": staging.credential_file}
    if backend.checked_path is not None:
        # It is asked as configured, but a backend that refuses on purpose for a moment does not count as down.
        kept["healthCheck"] = {**(entry.get("healthCheck") or {}), "failureThreshold": _NEVER}
    if breakers and entry.get("circuitBreaker"):
        kept["circuitBreaker"] = _hurried(entry["circuitBreaker"])
    return kept


def _route(entry: Mapping[str, Any], config: Config, name: str, *, stream: bool) -> dict[str, Any]:
    route = config.routes[name]
    patience = patience_of(config, route, stream=stream)
    return {
        **{key: value for key, value in entry.items() if key not in _NOT_OF_ROUTES},
        "timeouts": dict(patience.written),
        "retries": {"perBackend": patience.retries, "backoff": backoff_of(config, route)},
    }


def _hurried(breaker: Mapping[str, Any] | None) -> dict[str, Any]:
    """The same numbers, but no waiting longer than a test may."""
    return {**(breaker or {}), "openFor": _OPEN_FOR, "openForAtMost": _OPEN_FOR_AT_MOST}
