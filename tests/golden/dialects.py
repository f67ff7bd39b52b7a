"""The dialects that have goldens, and how a golden is read, made and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from extproc.dialects.anthropic import AnthropicTranslator
from extproc.dialects.base import Translator, UpstreamReply
from extproc.errors import KortexError, UpstreamError
from extproc.framing.sse import SseFramer
from extproc.headers import Headers
from extproc.openai.call import Call, Operation, parse_call

CHAT: Final = Path(__file__).parent / "chat"
CREATED: Final = 1_700_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """``model`` is the provider's name for the model, where a case's ``models.json`` names no other."""

    name: str
    translator: Translator
    model: str


DIALECTS: Final = (Dialect(name="anthropic", translator=AnthropicTranslator(), model="claude-sonnet-4-5"),)

ABSENT: Final[Mapping[tuple[str, str], str]] = {}
"""(case, dialect) → why the dialect has no reply for a case for which another one has."""


def cases() -> list[Path]:
    """Every case."""
    return sorted(path for path in CHAT.iterdir() if path.is_dir())


def replies() -> Iterator[tuple[Path, Dialect, str]]:
    """Every recorded reply: its case, its dialect and its kind: json, sse or error."""
    for case in cases():
        for dialect in DIALECTS:
            for kind, file in (("json", "reply.json"), ("sse", "reply.sse"), ("error", "error.json")):
                if (case / f"{dialect.name}.{file}").is_file():
                    yield case, dialect, kind


def read_call(case: Path, *, stream: bool | None = None) -> Call:
    """The client's request; ``stream`` makes it one for a stream, with usage unless it is one already, or for none."""
    call = replace(parse_call(Operation.CHAT, (case / "client.request.json").read_bytes()), created=CREATED)
    if stream is None or stream is call.stream:
        return call
    return replace(call, stream=stream, include_usage=stream)


def encode(case: Path, dialect: Dialect) -> dict[str, Any]:
    """What the provider is sent, or why it is not."""
    named = case / "models.json"
    model = orjson.loads(named.read_bytes()).get(dialect.name) if named.is_file() else None
    try:
        request = dialect.translator.encode(read_call(case), model or dialect.model)
    except KortexError as error:
        return {"refused": {"status": error.status, "code": error.code, "param": error.param, "message": error.message}}
    written: dict[str, Any] = {"dropped": list(request.dropped)} if request.dropped else {}
    if request.headers:
        written["headers"] = dict(request.headers)
    assert request.body is not None
    return {**written, "body": json.loads(request.body)}


def decode(case: Path, dialect: Dialect) -> dict[str, Any]:
    """The client's whole answer."""
    reply = UpstreamReply(
        status=200,
        headers=Headers([("content-type", "application/json")]),
        body=(case / f"{dialect.name}.reply.json").read_bytes(),
    )
    try:
        answer = dialect.translator.decode(reply, read_call(case, stream=False))
    except UpstreamError as error:
        return {"raised": error_fields(error)}
    body: dict[str, Any] = orjson.loads(answer.body)
    return body


def decode_error(case: Path, dialect: Dialect) -> dict[str, Any]:
    """What a client is told about an unsuccessful reply."""
    given = orjson.loads((case / f"{dialect.name}.error.json").read_bytes())
    body = given["body"]
    reply = UpstreamReply(
        status=given["status"],
        headers=Headers(given.get("headers", {}).items()),
        body=body.encode() if isinstance(body, str) else orjson.dumps(body),
    )
    return error_fields(dialect.translator.decode_error(reply))


def decode_stream(case: Path, dialect: Dialect, sizes: tuple[int, ...] = ()) -> bytes:
    """The client's stream, the provider's being cut into chunks of these sizes in turn; an error is its last event."""
    data = (case / f"{dialect.name}.reply.sse").read_bytes()
    stream, framer = dialect.translator.stream(read_call(case, stream=True)), SseFramer(limit=1 << 20)
    out = b""
    try:
        for chunk in _chunks(data, sizes):
            for event in framer.feed(chunk):
                out += stream.event(event)
        for event in framer.close():
            out += stream.event(event)
        out += stream.close()
    except UpstreamError as error:
        held = "" if stream.state.events else " before any content, so that the next backend is asked"
        return out + f": raised{held}: ".encode() + orjson.dumps(error_fields(error)) + b"\n\n"
    return out if stream.state.complete else out + b": incomplete\n\n"


def error_fields(error: UpstreamError) -> dict[str, Any]:
    """What an error says."""
    names = ("status", "type", "code", "param", "retry_after", "message")
    return {name: value for name in names if (value := getattr(error, name)) is not None}


def settle(path: Path, content: bytes, *, update: bool) -> None:
    """Compare with the golden file, or write it."""
    if update:
        path.write_bytes(content)
    assert path.read_bytes() == content


def as_text(value: dict[str, Any]) -> bytes:
    """JSON to be read and compared by people, its keys in the order in which they are sent."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"


def _chunks(data: bytes, sizes: tuple[int, ...]) -> Iterator[bytes]:
    if not sizes:
        yield data
        return
    position = turn = 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        yield data[position : position + size]
        position, turn = position + size, turn + 1
