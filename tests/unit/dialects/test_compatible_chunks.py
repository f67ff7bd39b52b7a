"""A compatible server's chunks take short ways, on which each becomes what it would become by itself."""

from __future__ import annotations

from itertools import permutations

import orjson
import pytest

from extproc.dialects.openai_compatible.stream import OpenAIStream
from extproc.framing.sse import Event, encode_event
from extproc.openai.call import Operation, parse_call
from extproc.openai.json_text import splice

CALL = parse_call(Operation.CHAT, b'{"model":"ours","messages":[{"role":"user","content":"x"}],"stream":true}')
SAYS = b'"choices":[{"index":0,"delta":{"content":%s}}]'
TEXTS = (b'"a"', b'"b"', b'",\\"usage\\":null}"', b'"\\"model\\":\\"theirs\\""')
MODEL = b'"model":"theirs"'
NO_USAGE = b'"usage":null'
CHANGES = {"model": b'"ours"', "usage": None}


def check(chunks: list[bytes]) -> None:
    """One stream: each chunk has the client's name for the model, and no usage, which this client did not ask for."""
    stream = OpenAIStream(CALL)
    for data in chunks:
        orjson.loads(data)
        assert stream.event(Event(raw=encode_event(data), data=data)) == encode_event(splice(data, CHANGES))
    assert stream.state.events == len(chunks)


@pytest.mark.parametrize("separator", [b",", b", ", b"\n,\n"], ids=["close", "wide", "lines"])
@pytest.mark.parametrize("before", [b"", b'"created":1,', b'"usage_of":{"usage":null,"model":"theirs"},'])
def test_chunks_become_the_same_one_by_one(before: bytes, separator: bytes) -> None:
    """In any order of their members, which a server may change from one chunk to the next."""
    orders = [*permutations((MODEL, SAYS, NO_USAGE)), *permutations((MODEL, SAYS, NO_USAGE))]
    texts = (TEXTS * 3)[: len(orders)]
    check([b"{" + before + separator.join(order) % text + b"}" for order, text in zip(orders, texts, strict=True)])


@pytest.mark.parametrize(
    "after", [b"", b',"obfuscation":"x"', b',"obfuscation":"}"', b',"p":{"usage":null}', b',"p":[1]']
)
def test_usage_is_taken_out_wherever_it_stands(after: bytes) -> None:
    """OpenAI has more after it: https://platform.openai.com/docs/api-reference/chat-streaming/streaming"""
    check([b"{" + MODEL + b"," + SAYS % text + b"," + NO_USAGE + after + b"}" for text in TEXTS])
    check([b'{"choices":[{"delta":{"content":"a"},"usage":null}],"model":"theirs","usage":null' + after + b"}"])
    check([b'{"usage":null,"choices":[{"delta":{"content":"a"},"usage":null}],"model":"theirs"' + after + b"}"])


def test_another_model_and_another_beginning() -> None:
    """A server may name several, and the time of each chunk."""
    named = [b'{"created":%d,"model":"%s",' % (time, name) for time in (1, 2) for name in (b"theirs", b"other", b"th")]
    check([beginning + SAYS % text + b"}" for beginning in [*named, *named] for text in TEXTS])
