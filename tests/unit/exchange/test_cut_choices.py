"""Streams of several answers that a budget ends: each that had begun is told why it ends, and none twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from extproc.admission.settlement import Reservation
from extproc.dialects.gemini import GeminiTranslator
from extproc.exchange.allowance import is_ended
from extproc.exchange.attempt import Attempt
from extproc.exchange.reply import Reply
from extproc.exchange.steps import Body, Step
from extproc.framing.sse import Event
from extproc.headers import Headers
from extproc.openai.call import Call, Operation

StartAttempt = Callable[..., Attempt]
GRANTED = 10


def chunk(index: int, content: str = "word ", finish: str | None = None) -> bytes:
    """One choice goes on, or ends."""
    choice = {"index": index, "delta": {"content": content}, "finish_reason": finish}
    return b"data: " + orjson.dumps({"id": "c-1", "model": "m", "choices": [choice]}) + b"\n\n"


def counted() -> bytes:
    """The chunk that tells the usage."""
    usage = {"prompt_tokens": 1, "completion_tokens": 200}
    return b"data: " + orjson.dumps({"id": "c-1", "model": "m", "choices": [], "usage": usage}) + b"\n\n"


@pytest.fixture
def reply(start: StartAttempt) -> Reply:
    """A stream that has few tokens."""
    attempt = start(stream=True, include_usage=True)
    assignment = replace(attempt.assignment, reservation=Reservation(output=GRANTED))
    begun = Reply(replace(attempt, assignment=assignment))
    begun.headers(Headers([(":status", "200"), ("content-type", "text/event-stream")]), end=False, now=101.0)
    return begun


def told(steps: list[Step]) -> list[dict[str, Any]]:
    """The client's chunks."""
    sent = b"".join(step.data for step in steps if isinstance(step, Body)).split(b"\n\n")
    return [orjson.loads(line.removeprefix(b"data: ")) for line in sent if line and not line.endswith(b"[DONE]")]


def refused(reply: Reply, *chunks: bytes) -> list[dict[str, Any]]:
    """What the client is told when these were too much."""
    for one in chunks:
        reply.body(one, end=False, now=101.0)
    assert reply.lacking
    return told(reply.refuse(101.0))


@pytest.mark.parametrize(
    ("chunks", "ends"),
    [
        pytest.param([chunk(0), chunk(2), chunk(1, "word " * 40)], [0, 1, 2], id="all"),
        pytest.param([chunk(0), chunk(1, "word " * 40), chunk(1, "", "stop")], [0], id="the newest has ended"),
        pytest.param([chunk(0, "", "stop"), chunk(2), chunk(1, "word " * 40)], [1, 2], id="another has ended"),
        pytest.param([chunk(0, "word " * 40)], [0], id="one"),
    ],
)
def test_every_choice_that_had_not_ended_is_ended(reply: Reply, chunks: list[bytes], ends: list[int]) -> None:
    """In one chunk, before the usage that is asked for."""
    end, usage = refused(reply, *chunks)
    assert [(choice["index"], choice["finish_reason"]) for choice in end["choices"]] == [
        (index, "length") for index in ends
    ]
    assert usage["choices"] == []
    assert reply.outcome is not None


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([chunk(0, "word " * 40, "stop"), chunk(1, "", "stop")], id="both"),
        pytest.param([chunk(0, "word " * 40, "stop"), counted()], id="usage has followed"),
    ],
)
def test_a_stream_that_has_said_its_end_is_not_ended_again(reply: Reply, chunks: list[bytes]) -> None:
    """Its own usage and ``[DONE]`` are to come."""
    assert refused(reply, *chunks) == []
    assert reply.outcome is None


def test_candidates_of_gemini_are_choices() -> None:
    """Why each has ended is said when all have."""
    stream = GeminiTranslator().stream(Call(operation=Operation.CHAT, model="m", body=b"{}", stream=True))
    candidates = [{"index": index, "content": {"parts": [{"text": "Hi."}]}, "finishReason": "STOP"} for index in (0, 1)]
    sent = stream.event(Event(raw=b"", data=orjson.dumps({"candidates": candidates})))
    assert stream.state.begun == {0, 1}
    assert not is_ended(sent, stream.state)
    assert is_ended(stream.close(), stream.state)
