"""Which calls a limit or a budget is for, and which of its counters a call is counted by."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from extproc.admission.caller import Caller
from extproc.config.glob import any_of

HEADER: Final = "header:"
_LONGEST: Final = 100
_NOBODY: Final = "-"


class Subject(NamedTuple):
    """A call as limits and budgets see it. ``user`` is the caller's, unless the limit takes it from a header."""

    caller: Caller
    route: str
    model: str
    """As the client asked for it."""
    headers: Mapping[str, str]

    def value(self, dimension: str) -> str | None:
        """Of one of ``extproc.config.limits.Dimension``, or of a header, as ``header:x-user-id``."""
        read = _VALUES.get(dimension)
        return self.headers.get(dimension.removeprefix(HEADER)) if read is None else read(self)


_VALUES: Final[Mapping[str, Callable[[Subject], str | None]]] = {
    "gateway": lambda _: "",
    "route": lambda subject: subject.route,
    "model": lambda subject: subject.model,
    "key": lambda subject: subject.caller.key,
    "user": lambda subject: subject.caller.user,
    "tenant": lambda subject: subject.caller.tenant,
    "tier": lambda subject: subject.caller.tier,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """``per`` tells apart, ``match`` chooses. Callers of whom a word of ``per`` is not known are counted together."""

    per: tuple[str, ...]
    match: tuple[tuple[str, re.Pattern[str]], ...]

    @property
    def reads_headers(self) -> bool:
        """Whether calls of one caller to one model are told apart. What chooses them is no header, in any config."""
        return any(dimension.startswith(HEADER) for dimension in self.per)

    def includes(self, subject: Subject) -> bool:
        """Whether the call is counted at all. What is not known matches nothing."""
        for dimension, pattern in self.match:
            value = subject.value(dimension)
            if value is None or pattern.fullmatch(value) is None:
                return False
        return True

    def counter(self, subject: Subject) -> str:
        """What tells the call's counter from the others of the same policy."""
        per = self.per
        if len(per) == 1:
            return _plain(subject.value(per[0]))
        return "/".join([_plain(subject.value(dimension)) for dimension in per])


def scope(per: str | tuple[str, ...], match: Iterable[tuple[str, str | tuple[str, ...]]]) -> Scope:
    """As configs have it."""
    patterns = ((word, (globs,) if isinstance(globs, str) else globs) for word, globs in match)
    return Scope(
        per=(per,) if isinstance(per, str) else per,
        match=tuple((word, any_of(globs)) for word, globs in patterns),
    )


def _plain(value: str | None) -> str:
    """A part of a counter's name: short, and no two values alike."""
    if value is None:
        return _NOBODY
    return _hashed(value) if len(value) > _LONGEST else _short(value)


@lru_cache(maxsize=4_096)
def _short(value: str) -> str:
    if not value.isprintable() or value[:1] in {"-", "#"}:
        return _hashed(value)
    return value.replace("%", "%25").replace("/", "%2F")


def _hashed(value: str) -> str:
    return "#" + hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()
