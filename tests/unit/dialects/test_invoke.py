"""Claude behind InvokeModel: Anthropic's events inside AWS's."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson
import pytest

from extproc.dialects.anthropic import AnthropicTranslator, InvokeTranslator
from extproc.dialects.base import GarbledReply, StreamTranslator
from extproc.errors import UpstreamError
from extproc.framing.sse import Event, SseFramer
from extproc.openai.call import Call, Operation, parse_call
from tests.golden.dialects import CHAT, DIALECTS, cases, read_call

ANTHROPIC = next(dialect for dialect in DIALECTS if dialect.name == "anthropic")
STREAMED = sorted(case.name for case in cases() if (case / "anthropic.reply.sse").is_file())


def chunk(data: bytes) -> Event:
    """An event of Anthropic's as Bedrock sends it."""
    return Event(raw=b"", data=orjson.dumps({"bytes": b64encode(data).decode(), "p": "abc"}), event=b"chunk")


def fed(stream: StreamTranslator, events: list[Event]) -> tuple[bytes, str | None]:
    """The client's bytes, and the error that ended them."""
    out = b""
    try:
        for event in events:
            out += stream.event(event)
        return out + stream.close(), None
    except UpstreamError as error:
        return out, error.message


@pytest.mark.parametrize("name", STREAMED)
def test_stream_is_read_as_anthropics_own(name: str) -> None:
    """Every recorded one: the client sees no difference."""
    case = CHAT / name
    framer = SseFramer(limit=1 << 20)
    events = framer.feed((case / "anthropic.reply.sse").read_bytes()) + framer.close()
    told = [event for event in events if event.data]
    call = read_call(case, stream=True)
    assert fed(InvokeTranslator().stream(call), [chunk(event.data) for event in told]) == fed(
        AnthropicTranslator().stream(call), told
    )


@pytest.mark.parametrize("data", [b"", b"7", b"{}", b'{"bytes":7}', b'{"bytes":"?"}'])
def test_chunk_without_an_event_is_garbled(data: bytes) -> None:
    """The next backend is asked."""
    call = Call(operation=Operation.CHAT, model="m", body=b"{}", stream=True)
    with pytest.raises(GarbledReply, match="without the bytes"):
        InvokeTranslator().stream(call).event(Event(raw=b"", data=data, event=b"chunk"))


def test_stream_cut_inside_a_message_is_not_whole() -> None:
    """Though Anthropic's last event may have been the one before."""
    call = read_call(CHAT / "reply_stream_without_its_last_event", stream=True)
    framer = SseFramer(limit=1 << 20)
    events = framer.feed((CHAT / "reply_stream_without_its_last_event/anthropic.reply.sse").read_bytes())
    stream = InvokeTranslator().stream(call)
    for event in events:
        stream.event(chunk(event.data))
    stream.event(Event(raw=b"\0", data=b"", truncated=True))
    assert stream.close() == b""
    assert not stream.state.complete


def test_request_is_anthropics_but_for_what_stands_elsewhere() -> None:
    """Version and betas in the body, model and streaming in the path."""
    body: dict[str, Any] = {
        "model": "asked",
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
        "anthropic": {"betas": ["one-1"], "top_k": 5},
    }
    call = parse_call(Operation.CHAT, orjson.dumps(body))
    here = AnthropicTranslator().encode(call, "claude-sonnet-4-5")
    there = InvokeTranslator().encode(call, "claude-sonnet-4-5")
    assert here.body is not None
    assert there.body is not None
    own = orjson.loads(here.body)
    assert (own.pop("model"), own.pop("stream")) == ("claude-sonnet-4-5", True)
    assert orjson.loads(there.body) == {"anthropic_beta": ["one-1"], "anthropic_version": "bedrock-2023-05-31", **own}
    assert here.headers == (("anthropic-beta", "one-1"),)
    assert there.headers == (("accept", "application/vnd.amazon.eventstream"),)
