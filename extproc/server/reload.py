"""From a config's text to the snapshot that serves: load, read the secrets, compile, swap one reference."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import Final, NoReturn

from extproc.config.backends import Backend
from extproc.config.load import ConfigError, Problem, load
from extproc.credentials.secrets import Secret, SecretUnavailable, read_secret
from extproc.credentials.store import TokenStore
from extproc.errors import CredentialUnavailable
from extproc.exchange.pricing import look_up_prices
from extproc.exchange.snapshot import Credential, Snapshot, Target, compile_snapshot
from extproc.providers.registry import PROVIDERS, SETTINGS
from extproc.providers.token_request import TokenRequest
from extproc.server.client_keys import read_callers

RETAINED_SECONDS: Final = 900.0
"""How long a replaced config's targets stay known: a request under way may still be moving along its old plan."""


FIRST_TOKEN_SECONDS: Final = 5.0
"""How long a config waits for the tokens that only it needs, before it serves without them."""


def build_snapshot(text: bytes, *, number: int, tokens: TokenStore | None = None) -> Snapshot:
    """Everything that can be wrong with a config is found here. Raises ConfigError with all of it.

    Without ``tokens``, in a process that sends no requests, the credentials that are tokens cannot be read.
    """
    config = load(text, SETTINGS).config
    snapshot = compile_snapshot(
        config,
        number=number,
        loaded_at=time.time(),
        providers=PROVIDERS,
        credentials=_read_credentials(config.backends, os.environ, tokens),
        callers=read_callers(config, os.environ),
    )
    look_up_prices(snapshot)
    return snapshot


def token_requests(targets: Iterable[Target]) -> frozenset[TokenRequest]:
    """The tokens that these targets need."""
    wanted = (_token_request(target.settings) for target in targets)
    return frozenset(request for request in wanted if request is not None)


def _token_request(backend: Backend) -> TokenRequest | None:
    token = PROVIDERS[backend.provider].token
    return None if token is None else token(backend)


def _read_credentials(
    backends: Mapping[str, Backend], environment: Mapping[str, str], tokens: TokenStore | None
) -> dict[str, Credential]:
    credentials: dict[str, Credential] = {}
    problems: list[Problem] = []
    for name, backend in backends.items():
        request = _token_request(backend)
        if request is not None:
            credentials[name] = _elsewhere if tokens is None else tokens.credential(request)
            continue
        if backend.api_key is None:
            credentials[name] = _none
            continue
        try:
            credentials[name] = _revealing(read_secret(backend.api_key, environment))
        except SecretUnavailable as error:
            problems.append(Problem(path=f"backends.{name}.apiKey", message=str(error), hint=None, line=None))
    if problems:
        raise ConfigError(tuple(problems))
    return credentials


def _elsewhere() -> NoReturn:
    raise CredentialUnavailable("The backend's tokens are kept by the workers.")


def _none() -> None:
    return None


def _revealing(secret: Secret) -> Credential:
    return secret.reveal


class Serving:
    """The snapshot that new streams begin with, and the targets of those before it, for a while."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._retired: list[tuple[float, Snapshot]] = []
        self._targets: Mapping[str, Target] = snapshot.targets

    @property
    def snapshot(self) -> Snapshot:
        """What new streams begin with."""
        return self._snapshot

    @property
    def targets(self) -> Mapping[str, Target]:
        """Every target a request under way may name."""
        return self._targets

    @property
    def retained(self) -> tuple[Snapshot, ...]:
        """The snapshots whose targets are known, oldest first."""
        return (*(snapshot for _, snapshot in self._retired), self._snapshot)

    def swap(self, snapshot: Snapshot, *, now: float) -> None:
        """Serve another snapshot from here on. ``now`` is seconds of a monotonic clock."""
        retired = [*self._retired, (now, self._snapshot)]
        self._retired = [(since, old) for since, old in retired if now - since < RETAINED_SECONDS]
        merged: dict[str, Target] = {}
        for _, old in self._retired:
            merged.update(old.targets)
        merged.update(snapshot.targets)
        self._snapshot, self._targets = snapshot, merged
