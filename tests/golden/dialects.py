"""The dialects that have goldens, and how a golden is read, made and compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from extproc.dialects.anthropic import AnthropicTranslator
from extproc.dialects.base import Translator, UpstreamReply
from extproc.dialects.converse import ConverseTranslator
from extproc.dialects.gemini import GeminiTranslator
from extproc.errors import KortexError, UpstreamError
from extproc.framing.base import Framer, FramingError
from extproc.framing.event_stream import EventStreamFramer
from extproc.framing.sse import Event, SseFramer
from extproc.headers import Headers
from extproc.openai.call import Call, Operation, parse_call
from tests.fakes.event_stream import message

CHAT: Final = Path(__file__).parent / "chat"
CREATED: Final = 1_700_000_000
REPLY_ID: Final = "6b7a3d0e"


def as_recorded(recorded: bytes) -> bytes:
    """A stream of text, as it was."""
    return recorded


def event_stream(recorded: bytes) -> bytes:
    """AWS's binary messages from lines of JSON: their headers, and their payload, which is JSON or else a text.

    A last line that is no JSON is sent as it stands: bytes that are no message, or the beginning of one.
    """
    written = b""
    for line in recorded.splitlines():
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError:
            return written + line
        payload = fields["payload"]
        data = payload.encode() if isinstance(payload, str) else orjson.dumps(payload)
        written += message(fields["headers"], data)
    return written


SSE: Final = partial(SseFramer, limit=1 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """``model`` is the provider's name for the model, where a case's ``models.json`` names no other.

    ``others`` are models for which requests are written in other ways.

    Streams are recorded in files that end in ``streams``; ``framed`` makes the provider's bytes of what stands there,
    and ``framer`` cuts them.
    """

    name: str
    translator: Translator
    model: str
    others: tuple[str, ...] = ()
    streams: str = "sse"
    framed: Callable[[bytes], bytes] = as_recorded
    framer: Callable[[], Framer[Event]] = SSE

    def recorded_stream(self, case: Path) -> bytes:
        """The provider's bytes."""
        return self.framed((case / f"{self.name}.reply.{self.streams}").read_bytes())


DIALECTS: Final = (
    Dialect(name="anthropic", translator=AnthropicTranslator(), model="claude-sonnet-4-5"),
    Dialect(
        name="converse",
        translator=ConverseTranslator(),
        model="us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        others=(
            "us.anthropic.claude-opus-5-5-v1",
            "amazon.nova-pro-v1:0",
            "us.amazon.nova-2-lite-v1:0",
            "openai.gpt-oss-120b-1:0",
            "meta.llama3-3-70b-instruct-v1:0",
        ),
        streams="jsonl",
        framed=event_stream,
        framer=partial(EventStreamFramer, limit=1 << 20),
    ),
    Dialect(name="gemini", translator=GeminiTranslator(), model="gemini-2.5-flash"),
)

_BILLED_BY_AWS: Final = "AWS sends bills, and no error about them"
_STATUS_TELLS: Final = "an exception has a status of its own, or a mark in the stream"
_NO_SUCH_REASON: Final = "Converse has no such stop reason"
_ONE_LIMIT: Final = "Gemini's window is told as its limit"
_SIGNED: Final = "Gemini signs its thoughts, and neither redacts them nor leaves them out"

ABSENT: Final[Mapping[tuple[str, str], str]] = {
    ("error_billing", "converse"): _BILLED_BY_AWS,
    ("error_no_credit", "converse"): _BILLED_BY_AWS,
    ("reply_error_in_a_200", "converse"): _STATUS_TELLS,
    ("reply_pause", "converse"): _NO_SUCH_REASON,
    ("reply_refusal", "converse"): _NO_SUCH_REASON,
    ("reply_refusal_after_text", "converse"): _NO_SUCH_REASON,
    ("reply_usage_growing", "converse"): "usage is told once",
    ("error_content_filter", "gemini"): "a blocked prompt is no error but a 200 with its reason",
    ("error_context_length_with_the_limit", "gemini"): _ONE_LIMIT,
    ("reply_window_reached", "gemini"): _ONE_LIMIT,
    ("reply_citations_of_documents", "gemini"): "Gemini does not cite the request's documents",
    ("reply_pause", "gemini"): "Gemini does not pause",
    ("reply_stream_without_its_last_event", "gemini"): "Gemini's stream has no event for its end",
    ("reply_thinking_left_out_before_a_tool", "gemini"): _SIGNED,
    ("reply_thinking_redacted_before_a_tool", "gemini"): _SIGNED,
}
"""(case, dialect) → why the dialect has no reply for a case for which another one has."""

OWN: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "error_model_error",
            "error_model_not_ready",
            "error_model_without_on_demand",
            "error_named_in_the_body",
            "error_quota",
            "error_resource_unknown",
            "reply_guardrail_intervened",
            "reply_malformed_model_output",
            "reply_stream_cut_in_a_message",
            "reply_stream_error_of_the_transport",
            "reply_stream_malformed_tool_use",
            "reply_stream_with_a_wrong_checksum",
        ),
        "converse",
    ),
    **dict.fromkeys(
        (
            "error_cancelled",
            "error_in_an_array",
            "error_precondition",
            "error_token_refused",
            "reply_call_malformed",
            "reply_stream_of_a_malformed_call",
            "reply_stream_of_a_malformed_call_after_text",
            "reply_candidates_two",
            "reply_code_that_was_run",
            "reply_image",
            "reply_logprobs",
            "reply_model_armor",
            "reply_prompt_blocked",
            "reply_prompt_blocked_with_a_reason",
            "reply_recitation",
            "reply_signature_alone_at_the_end",
            "reply_signatures_of_two_calls",
            "reply_stream_of_candidates_one_unfinished",
            "reply_stream_of_candidates_two",
            "reply_usage_of_everything",
            "reply_without_a_reason",
            "reply_without_an_id",
        ),
        "gemini",
    ),
}
"""Cases of something that only one dialect has, and which."""


def cases() -> list[Path]:
    """Every case."""
    return sorted(path for path in CHAT.iterdir() if path.is_dir())


def replies() -> Iterator[tuple[Path, Dialect, str]]:
    """Every recorded reply: its case, its dialect and its kind: json, sse or error."""
    for case in cases():
        for dialect in DIALECTS:
            streamed = f"reply.{dialect.streams}"
            for kind, file in (("json", "reply.json"), ("sse", streamed), ("error", "error.json")):
                if (case / f"{dialect.name}.{file}").is_file():
                    yield case, dialect, kind


def read_call(case: Path, *, stream: bool | None = None) -> Call:
    """The client's request; ``stream`` makes it one for a stream, with usage unless it is one already, or for none."""
    call = parse_call(Operation.CHAT, (case / "client.request.json").read_bytes())
    call = replace(call, created=CREATED, reply_id=REPLY_ID)
    if stream is None or stream is call.stream:
        return call
    return replace(call, stream=stream, include_usage=stream)


def model_of(case: Path, dialect: Dialect) -> str:
    """The provider's name for the model."""
    named = case / "models.json"
    model: str | None = orjson.loads(named.read_bytes()).get(dialect.name) if named.is_file() else None
    return model or dialect.model


def answered_call(case: Path, dialect: Dialect, *, stream: bool) -> Call:
    """The client's request, once the provider replies to it."""
    return replace(read_call(case, stream=stream), upstream_model=model_of(case, dialect))


def encode(case: Path, dialect: Dialect) -> dict[str, Any]:
    """What the provider is sent, or why it is not."""
    try:
        request = dialect.translator.encode(read_call(case), model_of(case, dialect))
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
        answer = dialect.translator.decode(reply, answered_call(case, dialect, stream=False))
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
    data = dialect.recorded_stream(case)
    stream, framer = dialect.translator.stream(answered_call(case, dialect, stream=True)), dialect.framer()
    out = b""
    try:
        for chunk in _chunks(data, sizes):
            for event in framer.feed(chunk):
                out += stream.event(event)
        for event in framer.close():
            out += stream.event(event)
        out += stream.close()
    except FramingError as error:
        return out + f": cannot be cut: {error}\n\n".encode()
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
