"""From a reply to the very bytes, pauses and ends that a connection performs (HTTP/1.1, RFC 9112)."""

from __future__ import annotations

import http
import itertools
from collections.abc import Iterable, Iterator

from tests.fakes.content_coding import CODERS, Coder
from tests.fakes.steps import Fin, Framing, HeaderList, Reply, Send, Sleep, Step


def render(reply: Reply, *, close: bool = False) -> tuple[Step, ...]:
    """The steps on the wire. ``close``: the client asked that the connection ends with this reply."""
    body = reply.body
    headers = reply.headers
    if reply.coding is not None:
        body = tuple(_encode(body, CODERS[reply.coding]()))
        headers = (*headers, ("content-encoding", reply.coding))
    if reply.sizes:
        body = tuple(_cut(body, reply.sizes, reply.pause))
    close = close or reply.framing is Framing.CLOSE
    headers = (*headers, *_framing_headers(reply, body))
    if close:
        headers = (*headers, ("connection", "close"))
    framed = _chunked(body, reply.trailers) if reply.framing is Framing.CHUNKED else body
    # A wrong length leaves the peer waiting or with bytes too many: the connection is of no further use.
    ends = (Fin(),) if close or reply.length_error else ()
    return (*reply.before, Send(_head(reply.status, headers), counted=False), *framed, *ends)


def _head(status: int, headers: HeaderList) -> bytes:
    phrases = {known.value: known.phrase for known in http.HTTPStatus}
    lines = [f"HTTP/1.1 {status} {phrases.get(status, 'Unknown')}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _framing_headers(reply: Reply, body: tuple[Step, ...]) -> HeaderList:
    match reply.framing:
        case Framing.LENGTH:
            length = sum(len(step.payload) for step in body if isinstance(step, Send))
            return (("content-length", str(length + reply.length_error)),)
        case Framing.CHUNKED if reply.trailers:
            return (("transfer-encoding", "chunked"), ("trailer", ", ".join(name for name, _ in reply.trailers)))
        case Framing.CHUNKED:
            return (("transfer-encoding", "chunked"),)
        case Framing.CLOSE:
            return ()


def _encode(body: Iterable[Step], coder: Coder) -> Iterator[Step]:
    for step in body:
        yield Send(coder.feed(step.payload), step.counted) if isinstance(step, Send) else step
    yield Send(coder.close(), counted=False)


def _cut(body: Iterable[Step], sizes: tuple[int, ...], pause: float) -> Iterator[Step]:
    """Cut each run of bytes between two other steps anew, the sizes taken in turn over the whole body."""
    turn = itertools.cycle(sizes)
    for is_bytes, run in itertools.groupby(body, key=lambda step: isinstance(step, Send)):
        if not is_bytes:
            yield from run
            continue
        rest = memoryview(b"".join(step.payload for step in run if isinstance(step, Send)))
        while rest:
            size = next(turn)
            yield Send(bytes(rest[:size]), counted=False)
            rest = rest[size:]
            if rest and pause:
                yield Sleep(pause)


def _chunked(body: Iterable[Step], trailers: HeaderList) -> Iterator[Step]:
    for step in body:
        if not isinstance(step, Send):
            yield step
        elif step.payload:  # an empty chunk would be the end of the body
            yield Send(b"%x\r\n%b\r\n" % (len(step.payload), step.payload), step.counted)
    lines = "".join(f"{name}: {value}\r\n" for name, value in trailers)
    yield Send(f"0\r\n{lines}\r\n".encode("latin-1"), counted=False)
