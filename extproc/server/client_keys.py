"""What is read for admission: every key that the configuration names, and the secrets of webhooks and the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from extproc.admission.keyring import OPEN, Cut, KeyRing, cut_key, hash_secret
from extproc.config.gateway import Config
from extproc.config.keys import ClientKey
from extproc.config.problems import ConfigError, Problem, quoted, suggest
from extproc.config.scalars import SecretRef
from extproc.credentials.key_file import KeyFileInvalid, read_key_file
from extproc.credentials.secrets import FilesRead, SecretUnavailable, place_of, read_secret
from extproc.exchange.snapshot import Callers
from extproc.routing.target import Credential

_SHORTEST: Final = 16


def read_callers(config: Config, environment: Mapping[str, str], files: FilesRead | None = None) -> Callers:
    """Keys, and the secrets of budgets' webhooks and of the store. Raises ConfigError with everything that is wrong."""
    problems: list[Problem] = []

    def read(path: str, ref: SecretRef | None) -> Credential:
        secret = None
        if ref is not None:
            try:
                secret = read_secret(ref, environment, files)
            except SecretUnavailable as error:
                problems.append(Problem(path=path, message=str(error)))
        return _nothing if secret is None else secret.reveal

    webhooks = {
        budget.name: (budget.webhook.url, read(f"budgets[{index}].webhook.secret", budget.webhook.secret))
        for index, budget in enumerate(config.budgets)
        if budget.webhook is not None
    }
    password = read("quota.password", config.quota.password)
    keys = OPEN
    try:
        keys = read_keys(config, environment, files)
    except ConfigError as error:
        problems.extend(error.problems)
    if problems:
        raise ConfigError(tuple(problems))
    return Callers(keys=keys, webhooks=webhooks, quota_password=password)


def _nothing() -> None:
    return None


def read_keys(config: Config, environment: Mapping[str, str], files: FilesRead | None = None) -> KeyRing:
    """Raises ConfigError with everything that is wrong."""
    if not config.asks_for_keys:
        return OPEN
    problems: list[Problem] = []
    cuts: list[Cut] = []
    for index, entry in enumerate(config.keys or ()):
        try:
            cuts.extend(cut_key(entry, _digest(entry, environment, files)))
        except SecretUnavailable as error:
            problems.append(Problem(path=f"keys[{index}].secret", message=str(error)))
    if config.keys_file is not None:
        try:
            cuts.extend(_from_file(Path(config.keys_file), config, files))
        except KeyFileInvalid as error:
            problems.extend(Problem(path="keysFile", message=sentence) for sentence in error.problems)
    problems.extend(_shared_secrets(cuts))
    if problems:
        raise ConfigError(tuple(problems))
    return KeyRing(cuts)


def _digest(entry: ClientKey, environment: Mapping[str, str], files: FilesRead | None) -> bytes | None:
    if entry.secret is None:
        return None
    secret = read_secret(entry.secret, environment, files).reveal()
    if len(secret) < _SHORTEST:
        message = f"{place_of(entry.secret)} holds a key shorter than {_SHORTEST} characters, which could be guessed"
        raise SecretUnavailable(message)
    return hash_secret(secret)


def _from_file(path: Path, config: Config, files: FilesRead | None) -> tuple[Cut, ...]:
    found = read_key_file(path, files)
    problems = [
        f"line {line}: routes: there is no route {quoted(route)}, "
        + suggest(route, config.routes, otherwise="the routes are")
        for route, line in found.routes.items()
        if route not in config.routes
    ]
    twice = sorted(found.names & {entry.name for entry in config.keys or ()})
    problems.extend(f"the key {quoted(name)} stands in the config, too" for name in twice)
    if problems:
        raise KeyFileInvalid(*problems)
    return found.cuts


def _shared_secrets(cuts: list[Cut]) -> Iterator[Problem]:
    """One secret cannot tell two callers apart."""
    seen: dict[bytes, str | None] = {}
    for cut in cuts:
        name = cut.key.caller.key
        if cut.digest in seen:
            message = f"the keys {seen[cut.digest]} and {name} have the same secret"
            yield Problem(path="keys", message=message)
        seen.setdefault(cut.digest, name)
