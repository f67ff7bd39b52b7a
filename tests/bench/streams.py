"""Streamed replies: when the first token comes, and how long each event takes from the provider to the client."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.bench import wire
from tests.bench.load import WrongReply


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """In seconds. ``first``: from each call to its first token; ``transits``: each token's, from provider to client."""

    first: list[float]
    transits: list[float]


async def streams(origin: str, model: str, *, connections: int, each: int) -> Streams:
    """``connections`` clients that call ``each`` times. Raises WrongReply unless every event is the provider's."""
    authority = urlsplit(origin).netloc
    runs = await asyncio.gather(*(_client(authority, model, each) for _ in range(connections)))
    return Streams(
        first=[first for run in runs for first in run.first], transits=[one for run in runs for one in run.transits]
    )


async def _client(authority: str, model: str, each: int) -> Streams:
    reader, writer = await asyncio.open_connection(*authority.split(":"))
    request = wire.request(authority, model, stream=True)
    pattern, last = wire.token_pattern(model), wire.last_events(model)
    first: list[float] = []
    transits: list[float] = []
    try:
        for call in range(-1, each):
            sent = time.monotonic_ns()
            writer.write(request)
            tokens = await _tokens(reader, pattern, last)
            if call >= 0:  # the first one of all opened connections on its way
                first.append((tokens[0][0] - sent) / 1e9)
                transits += [(arrived - written) / 1e9 for arrived, written in tokens]
    except asyncio.IncompleteReadError as error:
        raise WrongReply(f"the connection was lost after {error.partial!r}") from None
    finally:
        writer.close()
    return Streams(first=first, transits=transits)


async def _tokens(reader: asyncio.StreamReader, pattern: re.Pattern[bytes], last: bytes) -> list[tuple[int, int]]:
    """(arrived, written) of each token of one reply."""
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise WrongReply(head.decode(errors="replace"))
    tokens: list[tuple[int, int]] = []
    held = b""
    while chunk := await _chunk(reader):
        arrived = time.monotonic_ns()
        held += chunk
        while token := pattern.match(held):
            if int(token[1]) != len(tokens):
                raise WrongReply(f"token {token[1]!r} came after {len(tokens)} others")
            tokens.append((arrived, int(token[2])))
            held = held[token.end() :]
    if held != last or len(tokens) != wire.STREAM_CHUNKS:
        raise WrongReply(f"after {len(tokens)} tokens: {held.decode(errors='replace')}")
    return tokens


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    """The next piece of a chunked body; empty at its end."""
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:-2]
