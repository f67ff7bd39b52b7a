"""What is kept together: the unit by which a share of the calls is chosen, or stays with one backend."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, Discriminator, Tag

from extproc.config.scalars import Model
from extproc.headers import is_secret


def check_header_name(name: str) -> str:
    """A header that may decide where a call goes, in lower case. Raises ValueError."""
    lowered = name.lower()
    if not _is_header_name(lowered):
        msg = "this is not a header name"
        raise ValueError(msg)
    if is_secret(lowered):
        msg = f"the header {lowered!r} is a credential: what its holder may do stands under a key, not in a rule"
        raise ValueError(msg)
    return lowered


def _is_header_name(name: str) -> bool:
    return bool(name) and all(sign.isalnum() or sign in "!#$%&'*+.^`|~-" for sign in name) and name.isascii()


HeaderName = Annotated[str, AfterValidator(check_header_name)]
"""A request header; upper and lower case are the same."""


class HeaderUnit(Model):
    """Calls with the same value of a header belong together."""

    header: HeaderName
    """Name of the header."""


NamedUnit: TypeAlias = Literal["user", "conversation", "key", "tenant"]


def _kind(value: object) -> str:
    return "mapping" if isinstance(value, dict | HeaderUnit) else "name"


Unit = Annotated[
    Annotated[NamedUnit, Tag("name")] | Annotated[HeaderUnit, Tag("mapping")],
    Discriminator(_kind),
]
"""``user``, ``conversation`` (its first system and user messages), ``key``, ``tenant``, or ``{header: NAME}``."""

UNIT_WORD: Final = "`user`, `conversation`, `key`, `tenant` or `{header: NAME}`"
