"""``keys:`` and ``keysFile:`` who may call, and what each of them may use."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from extproc.config.limits import Budget, Limit
from extproc.config.scalars import Model, Name, SecretRef

_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_LABEL: Final = 128


def parse_moment(text: str) -> datetime:
    """``2026-12-31``, ``2026-12-31T18:00:00Z``, ``…+01:00``; without a zone it is UTC. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        msg = f"{text!r} is not a date: write 2026-12-31, or 2026-12-31T18:00:00+01:00"
        raise ValueError(msg) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _check_moment(text: str) -> str:
    parse_moment(text)
    return text


def _check_hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        # Not repeated: it may be the key itself.
        msg = 'a hash is "sha256:" and 64 hexadecimal digits, as kortex keys create prints it'
        raise ValueError(msg)
    return text


def _check_label(text: str) -> str:
    if not text or len(text) > _LONGEST_LABEL or not text.isprintable() or text != text.strip():
        msg = f"must be 1 to {_LONGEST_LABEL} characters that print, without white space around them"
        raise ValueError(msg)
    return text


Moment = Annotated[
    str,
    AfterValidator(_check_moment),
    WithJsonSchema({"type": "string", "examples": ["2026-12-31", "2026-12-31T18:00:00+01:00"]}),
]
"""A date, or a date and time; without a zone it is UTC."""

KeyHash = Annotated[
    str,
    AfterValidator(_check_hash),
    WithJsonSchema({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}),
]
"""What is kept of a key. Keys are 256 random bits, so that a fast hash is enough: there is nothing to guess from."""

Label = Annotated[str, AfterValidator(_check_label)]
"""A word about a caller, which counts and records show."""


class FormerSecret(Model):
    """What the key was before it was rotated."""

    hash: KeyHash
    """Of the secret that was replaced."""
    expires: Moment
    """From then on only the new one is taken."""


class ClientKey(Model):
    """One key of a client's, and what it is good for."""

    name: Name
    """Of the key: limits, records and metrics know it by this; never the secret."""
    secret: SecretRef | None = None
    """Where the key itself is to be read from: at least 16 characters that nobody can guess. Or ``hash``."""
    hash: KeyHash | None = None
    """What ``kortex keys create`` prints. Or ``secret``."""
    tenant: Label | None = None
    """Whose calls these are: a team, a customer."""
    user: Label | None = None
    """A single person or program among them."""
    tier: Label | None = None
    """What they pay for, or how much they matter."""
    tags: tuple[Label, ...] = ()
    """Any other words, for records and rules."""
    models: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Names or globs that it may ask for. Default: every model."""
    routes: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Routes that it may use. Default: every route."""
    expires: Moment | None = None
    """From then on it is refused. Default: never."""
    limits: tuple[Limit, ...] = ()
    """Limits of its own, beside those of the gateway."""
    budgets: tuple[Budget, ...] = ()
    """Budgets of its own, beside those of the gateway."""
    previous: tuple[FormerSecret, ...] = ()
    """Secrets from before a rotation, each good until it expires."""

    @model_validator(mode="after")
    def _one_source(self) -> ClientKey:
        if (self.secret is None) == (self.hash is None):
            msg = "give exactly one of secret and hash"
            raise ValueError(msg)
        if any(budget.webhook is not None for budget in self.budgets):
            msg = "a key's own budget has no webhook: write it under budgets, with match: {key: …}"
            raise ValueError(msg)
        return self
