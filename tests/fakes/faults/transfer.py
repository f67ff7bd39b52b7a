"""Not faults in truth: the same reply in other bytes, headers and framing, which a gateway has to cope with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tests.fakes.content_coding import CODERS
from tests.fakes.faults.fault import Fault
from tests.fakes.steps import Framing, HeaderList, Reply


@dataclass(frozen=True, slots=True)
class Chunking(Fault):
    """Cuts the (encoded) body into HTTP chunks of these ``sizes`` in turn, each flushed, ``pause`` seconds apart."""

    sizes: Sequence[int]
    pause: float = 0.0

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f"chunks hold one byte or more: {self.sizes}")

    def apply(self, reply: Reply) -> Reply:
        framing = Framing.CHUNKED if reply.framing is Framing.LENGTH else reply.framing
        return replace(reply, sizes=tuple(self.sizes), pause=self.pause, framing=framing)


@dataclass(frozen=True, slots=True)
class Encoded(Fault):
    """Compresses the body, each event flushed, whatever the request accepts."""

    coding: Literal["gzip", "br", "zstd"]

    def __post_init__(self) -> None:
        if self.coding not in CODERS:
            raise ValueError(f"unknown content coding {self.coding!r}; known are {', '.join(CODERS)}")

    def apply(self, reply: Reply) -> Reply:
        return replace(reply, coding=self.coding)


@dataclass(frozen=True, slots=True)
class CloseDelimited(Fault):
    """Sends neither content-length nor chunks: the connection's end is the body's."""

    def apply(self, reply: Reply) -> Reply:
        return replace(reply, framing=Framing.CLOSE)


@dataclass(frozen=True, slots=True)
class Trailers(Fault):
    """Sends the body in chunks with these trailers behind it."""

    headers: Mapping[str, str]

    def apply(self, reply: Reply) -> Reply:
        pairs: HeaderList = tuple(self.headers.items())
        return replace(reply, framing=Framing.CHUNKED, trailers=pairs)


@dataclass(frozen=True, slots=True)
class WrongLength(Fault):
    """Announces a content-length that is ``error`` bytes more (or less, when negative) than follow, then TCP FIN."""

    error: int

    def apply(self, reply: Reply) -> Reply:
        return replace(reply, framing=Framing.LENGTH, length_error=self.error)


@dataclass(frozen=True, slots=True)
class ExtraHeaders(Fault):
    """Adds these headers to the reply, in place of those of the same name."""

    headers: Mapping[str, str]

    def apply(self, reply: Reply) -> Reply:
        return reply.with_headers(*self.headers.items())
