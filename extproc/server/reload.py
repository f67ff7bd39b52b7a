"""From a config's text to the snapshot that serves: load, read the secrets, compile, swap one reference."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NoReturn

from extproc.config.backends import Backend
from extproc.config.gateway import Config
from extproc.config.load import ConfigError, Problem, load
from extproc.credentials.secrets import FilesRead, Secret, SecretUnavailable, read_secret
from extproc.credentials.store import TokenStore
from extproc.errors import CredentialUnavailable
from extproc.exchange.pricing import look_up_prices
from extproc.exchange.snapshot import NOBODY_IN_PARTICULAR, Snapshot, compile_snapshot
from extproc.providers.registry import PROVIDERS, SETTINGS
from extproc.providers.token_request import TokenRequest
from extproc.routing.target import Credential, Target
from extproc.server.client_keys import read_callers

RETAINED_SECONDS: Final = 900.0
"""How long a replaced config's targets stay known: a request under way may still be moving along its old plan."""


FIRST_TOKEN_SECONDS: Final = 5.0
"""How long a config waits for the tokens that only it needs, before it serves without them."""


def build_snapshot(
    text: bytes, *, number: int, tokens: TokenStore | None = None, files: FilesRead | None = None
) -> Snapshot:
    """Everything that can be wrong with a config is found here. Raises ConfigError with all of it.

    Without ``tokens``, in a process that sends no requests, the credentials that are tokens cannot be read. What
    ``files`` holds already is not read, and what is read is added to it.
    """
    files = {} if files is None else files
    with uncollected():
        loaded = load(text, SETTINGS)
        problems = list(_other_secrets_missing(loaded.config, os.environ, files))
        credentials = _read_credentials(loaded.config.backends, tokens, files, problems)
        callers = NOBODY_IN_PARTICULAR
        try:
            callers = read_callers(loaded.config, os.environ, files)
        except ConfigError as error:
            problems.extend(error.problems)
        if problems:
            raise ConfigError(tuple(problems))
        snapshot = compile_snapshot(
            loaded.config,
            number=number,
            loaded_at=time.time(),
            providers=PROVIDERS,
            credentials=credentials,
            callers=callers,
        )
    look_up_prices(snapshot)
    return snapshot


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without looking for cycles: a config has none, and a large one has a million objects to look through, again and

    again while they become more. It takes a third of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _other_secrets_missing(config: Config, environment: Mapping[str, str], files: FilesRead) -> Iterator[Problem]:
    """Those that are read by the part that needs them."""
    ledger, tracing = config.ledger, config.gateway.tracing
    references = {f"gateway.tracing.headers.{name}": ref for name, ref in tracing.headers.items()} if tracing else {}
    if ledger is not None and ledger.password is not None:
        references["ledger.password"] = ledger.password
    for path, reference in references.items():
        try:
            read_secret(reference, environment, files)
        except SecretUnavailable as error:
            yield Problem(path=path, message=str(error), hint=None, line=None)


def token_requests(targets: Iterable[Target]) -> frozenset[TokenRequest]:
    """The tokens that these targets need."""
    wanted = (_token_request(target.settings) for target in targets)
    return frozenset(request for request in wanted if request is not None)


def _token_request(backend: Backend) -> TokenRequest | None:
    token = PROVIDERS[backend.provider].token
    return None if token is None else token(backend)


def _read_credentials(
    backends: Mapping[str, Backend], tokens: TokenStore | None, files: FilesRead, problems: list[Problem]
) -> dict[str, Credential]:
    credentials: dict[str, Credential] = {}
    for name, backend in backends.items():
        request = _token_request(backend)
        if request is not None:
            credentials[name] = _elsewhere if tokens is None else tokens.credential(request)
            continue
        if backend.api_key is None:
            credentials[name] = _none
            continue
        try:
            credentials[name] = _revealing(read_secret(backend.api_key, os.environ, files))
        except SecretUnavailable as error:
            problems.append(Problem(path=f"backends.{name}.apiKey", message=str(error), hint=None, line=None))
    return credentials


def _elsewhere() -> NoReturn:
    raise CredentialUnavailable("The backend's tokens are kept by the workers.")


def _none() -> None:
    return None


def _revealing(secret: Secret) -> Credential:
    return secret.reveal


class Serving:
    """The snapshot that new streams begin with, and the targets of those before it, for a while, and of the next.

    Arrival and attempt of one request may be served by two processes, which never swap in the same moment: each must
    know the targets that another may plan with already.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._retired: list[tuple[float, Snapshot]] = []
        self._announced: list[Snapshot] = []
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

    def announce(self, snapshot: Snapshot) -> None:
        """Know a snapshot's targets before it serves, and for a while where it never does."""
        self._announced.append(snapshot)
        self._targets = self._merged()

    def swap(self, snapshot: Snapshot, *, now: float) -> None:
        """Serve another snapshot from here on. ``now`` is seconds of a monotonic clock."""
        others = (self._snapshot, *(other for other in self._announced if other is not snapshot))
        retired = [*self._retired, *((now, other) for other in others)]
        self._retired = [(since, old) for since, old in retired if now - since < RETAINED_SECONDS]
        self._snapshot, self._announced = snapshot, []
        self._targets = self._merged()

    def _merged(self) -> Mapping[str, Target]:
        merged: dict[str, Target] = {}
        for snapshot in (*self.retained, *self._announced):
            merged.update(snapshot.targets)
        return merged
