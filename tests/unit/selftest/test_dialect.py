"""What fake providers say is what the gateway's own translators take for answers and errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from extproc.dialects.base import Translator, UpstreamReply
from extproc.errors import UpstreamError
from extproc.exchange.verdict import Reason, judge
from extproc.framing.base import FramingError
from extproc.framing.event_stream import CONTENT_TYPE, EventStreamFramer
from extproc.framing.sse import SseFramer
from extproc.headers import Headers
from extproc.openai.call import Operation, parse_call
from extproc.providers.registry import PROVIDERS
from extproc.selftest.asking import CHAT, COMPLETIONS, EMBEDDINGS, Ask
from extproc.selftest.client import Ending, read_stream, read_whole
from extproc.selftest.dialect import Spoken, read_dialect

_PATHS = {Operation.CHAT: CHAT, Operation.TEXT_COMPLETION: COMPLETIONS, Operation.EMBEDDINGS: EMBEDDINGS}
_MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "invoke": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "titan_embeddings": "amazon.titan-embed-text-v2:0",
    "cohere_embeddings": "cohere.embed-v4:0",
}
_JSON = Headers([("content-type", "application/json")])


def spoken(*wanted: Operation) -> Iterator[Any]:
    """Every such operation that a configured backend can be asked for."""
    for provider in PROVIDERS.values():
        if provider.answer is not None:
            continue
        for dialect, operations in provider.offers.items():
            for operation, translator in operations.items():
                if operation in wanted:
                    yield pytest.param(
                        provider.name, dialect, operation, translator, id=f"{provider.name}-{dialect}-{operation}"
                    )


_COLUMNS = ("provider", "dialect", "operation", "translator")
EVERY = pytest.mark.parametrize(_COLUMNS, list(spoken(*_PATHS)))
STREAMED = pytest.mark.parametrize(_COLUMNS, list(spoken(Operation.CHAT, Operation.TEXT_COMPLETION)))


def said(provider: str, dialect: str, operation: Operation, *, stream: bool = False) -> Spoken:
    """What the provider's fake says at the path where the gateway asks."""
    record = PROVIDERS[provider]
    given = {
        "region": "us-east-1",
        "api": dialect if dialect == "invoke" else "converse",
        "project": "p",
        "location": "global",
        "dialect": None,
        "api_version": None,
    }
    settings = record.settings.model_construct(provider=provider, url="http://127.0.0.1:1", **given)
    call = parse_call(operation, body_of(operation, stream=stream))
    path = record.path(settings, call, _MODELS.get(dialect, "model")).partition("?")[0]
    every = [one for name in record.offers for one in read_dialect(name) if one.path.search(path)]
    assert every[0] in read_dialect(dialect)
    return every[0]


def framer_of(spoken: Spoken) -> SseFramer | EventStreamFramer:
    """As the gateway chooses it."""
    return (EventStreamFramer if spoken.content_type == CONTENT_TYPE else SseFramer)(limit=1 << 20)


def body_of(operation: Operation, *, stream: bool) -> bytes:
    """The self-test's own call."""
    return orjson.dumps(Ask(operation=_PATHS[operation]).body("model", "kortex-selftest-1", stream=stream))


@EVERY
def test_healthy_reply_is_an_answer(provider: str, dialect: str, operation: Operation, translator: Translator) -> None:
    """Every dialect in the registry has a file, and its reply becomes an answer of the client's format."""
    call = parse_call(operation, body_of(operation, stream=False))
    reply = UpstreamReply(status=200, headers=_JSON, body=said(provider, dialect, operation).reply)
    decoded = translator.decode(reply, call)
    assert read_whole(200, decoded.body)[0] is Ending.ANSWER


@STREAMED
def test_healthy_stream_is_an_answer(provider: str, dialect: str, operation: Operation, translator: Translator) -> None:
    """It ends with [DONE]; half of it does not."""
    call = parse_call(operation, body_of(operation, stream=True))
    spoken = said(provider, dialect, operation, stream=True)
    for events, complete in ((spoken.events, True), (spoken.events[: len(spoken.events) // 2], False)):
        stream, framer = translator.stream(call), framer_of(spoken)
        told = b"".join(stream.event(event) for chunk in events for event in framer.feed(chunk))
        assert told
        told += stream.close()
        assert stream.state.complete is complete
        assert (read_stream(told)[0] is Ending.ANSWER) is complete


@EVERY
def test_errors_mean_what_they_are_called(
    provider: str, dialect: str, operation: Operation, translator: Translator
) -> None:
    """Context length and content filter are told apart, as failover does."""
    errors = said(provider, dialect, operation).errors
    assert set(errors) == {"any", "in_band", "context_length", "content_filter"}
    too_long = translator.decode_error(UpstreamReply(status=400, headers=_JSON, body=errors["context_length"]))
    assert judge(too_long).reason is Reason.CONTEXT_LENGTH
    filtered = translator.decode_error(UpstreamReply(status=400, headers=_JSON, body=errors["content_filter"]))
    assert not judge(filtered).failover
    down = translator.decode_error(UpstreamReply(status=401, headers=_JSON, body=errors["any"]))
    assert judge(down).reason is Reason.UNAUTHORIZED
    call = parse_call(operation, body_of(operation, stream=False))
    with pytest.raises(UpstreamError) as raised:
        translator.decode(UpstreamReply(status=200, headers=_JSON, body=errors["in_band"]), call)
    assert judge(raised.value).failover


@STREAMED
def test_error_as_first_event_is_one(provider: str, dialect: str, operation: Operation, translator: Translator) -> None:
    """A stream that begins with an error has not begun."""
    call = parse_call(operation, body_of(operation, stream=True))
    spoken = said(provider, dialect, operation, stream=True)
    (event,) = framer_of(spoken).feed(spoken.error_event)
    with pytest.raises(UpstreamError) as raised:
        translator.stream(call).event(event)
    assert judge(raised.value).failover


@STREAMED
def test_garbled_is_what_no_format_allows(
    provider: str, dialect: str, operation: Operation, translator: Translator
) -> None:
    """Neither events nor AWS's messages."""
    call = parse_call(operation, body_of(operation, stream=True))
    spoken = said(provider, dialect, operation, stream=True)
    stream, framer = translator.stream(call), framer_of(spoken)
    with pytest.raises((UpstreamError, FramingError)):
        _ = [stream.event(event) for event in framer.feed(spoken.garbled)]
