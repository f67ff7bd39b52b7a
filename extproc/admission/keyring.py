"""Keys as requests meet them: from a secret, by its hash, to what its holder may use.

A key is stored as its SHA-256. A slow hash (bcrypt, Argon2) makes guessing expensive where people choose the secret;
ours are 256 random bits, which nobody guesses at any speed, and a slow hash would cost each request as much as a thief.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from extproc.admission.caller import ANONYMOUS, Caller
from extproc.admission.policy import Policy, compile_policies
from extproc.config.glob import any_of
from extproc.config.keys import ClientKey, parse_moment
from extproc.errors import InvalidApiKey
from extproc.headers import Headers

_PREFIX: Final = "sha256:"
_BEARER: Final = "bearer "
_HEADERS: Final = ("x-api-key", "api-key")
_MISSING: Final = "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY'."
_UNKNOWN: Final = "Incorrect API key provided."
_EXPIRED: Final = "This API key has expired."


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What a key says of its holder and lets them use; None is everything."""

    caller: Caller
    models: tuple[str, ...] | None = None
    routes: frozenset[str] | None = None
    policies: tuple[Policy, ...] = ()
    """Limits and budgets of its own."""

    def allows_model(self, name: str) -> bool:
        """Whether the holder may ask for a model by this name."""
        return self.models is None or any_of(self.models).fullmatch(name) is not None

    def allows_route(self, route: str) -> bool:
        """Whether the holder's calls may go by this route."""
        return self.routes is None or route in self.routes


ANYONE: Final = Key(caller=ANONYMOUS)
"""Who calls a gateway without keys."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One secret that opens: ``digest`` is its hash, ``expires`` Unix seconds."""

    digest: bytes
    expires: float | None
    key: Key


class KeyRing:
    """Every key, by the hash of its secret: a look-up takes as long among a hundred thousand as among two."""

    __slots__ = ("_cuts",)

    def __init__(self, cuts: Iterable[Cut] | None) -> None:
        self._cuts: Mapping[bytes, Cut] | None = None if cuts is None else {cut.digest: cut for cut in cuts}

    @property
    def counts(self) -> bool:
        """Whether any key has limits or budgets of its own."""
        return any(cut.key.policies for cut in (self._cuts or {}).values())

    def named(self, name: str) -> Key | None:
        """What a key lets its holder use, by its name in the config: looked for one by one, for explanations only."""
        return next((cut.key for cut in (self._cuts or {}).values() if cut.key.caller.key == name), None)

    def __len__(self) -> int:
        return 0 if self._cuts is None else len(self._cuts)

    def identify(self, headers: Headers, *, now: float) -> Key:
        """Who sent a request; ``now`` is Unix seconds. Raises InvalidApiKey, which never repeats what was sent."""
        if self._cuts is None:
            return ANYONE
        digest = hash_secret(_secret_of(headers))
        cut = self._cuts.get(digest)
        # The look-up's time depends on the hash alone, of which a client cannot choose a bit; nor may the comparison's.
        if cut is None or not hmac.compare_digest(cut.digest, digest):
            raise InvalidApiKey(_UNKNOWN)
        if cut.expires is not None and now >= cut.expires:
            raise InvalidApiKey(_EXPIRED)
        return cut.key


OPEN: Final = KeyRing(None)
"""A gateway that asks for no key."""


def key_of(entry: ClientKey) -> Key:
    """What a configured key says of its holder."""
    return Key(
        caller=Caller(key=entry.name, tenant=entry.tenant, user=entry.user, tier=entry.tier, tags=entry.tags),
        models=entry.models,
        routes=None if entry.routes is None else frozenset(entry.routes),
        policies=compile_policies(entry.limits, entry.budgets, owner=entry.name),
    )


def cut_key(entry: ClientKey, digest: bytes | None = None) -> Iterable[Cut]:
    """What opens with a configured key. ``digest`` is the hash of the secret that was read, where it names one."""
    key = key_of(entry)
    own = digest or _read_hash(entry.hash or "")
    yield Cut(own, _seconds(entry.expires), key)
    for former in entry.previous:
        ends = [moment for moment in (_seconds(former.expires), _seconds(entry.expires)) if moment is not None]
        yield Cut(_read_hash(former.hash), min(ends), key)


def hash_secret(secret: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def spell_hash(digest: bytes) -> str:
    """As configs have it."""
    return f"{_PREFIX}{digest.hex()}"


def _read_hash(spelled: str) -> bytes:
    return bytes.fromhex(spelled.removeprefix(_PREFIX))


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else parse_moment(moment).timestamp()


def _secret_of(headers: Headers) -> str:
    authorization = headers.get("authorization")
    if authorization is not None:
        if authorization[: len(_BEARER)].lower() != _BEARER:
            raise InvalidApiKey(_MISSING)
        secret = authorization[len(_BEARER) :].strip()
    else:
        secret = next((headers[name].strip() for name in _HEADERS if name in headers), "")
    if not secret:
        raise InvalidApiKey(_MISSING)
    return secret
