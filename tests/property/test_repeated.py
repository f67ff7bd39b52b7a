"""A stream whose chunks are passed on unread gives what reading each of them gives: bytes, bill and end."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from extproc.config.load import load
from extproc.exchange.assignment import Assignment
from extproc.exchange.attempt import begin_attempt
from extproc.exchange.reply import Reply
from extproc.exchange.snapshot import compile_snapshot
from extproc.exchange.steps import Body
from extproc.headers import ASSIGNMENT, Headers
from extproc.openai.call import Operation
from extproc.providers.registry import PROVIDERS, SETTINGS

CONFIG = b"""
backends:
  own: {provider: custom, url: "http://own.test"}
  renamed: {provider: custom, url: "http://renamed.test", model: inner}
routes:
  own: {models: [inner], defaultBackend: {name: own}}
  renamed: {models: [outer], defaultBackend: {name: renamed}}
"""
SNAPSHOT = compile_snapshot(
    load(CONFIG, SETTINGS).config,
    number=1,
    loaded_at=0.0,
    providers=PROVIDERS,
    credentials={"own": lambda: None, "renamed": lambda: None},
)
HEADERS = Headers([(":status", "200"), ("content-type", "text/event-stream")])
TEXTS = st.text(max_size=9) | st.sampled_from(['"', "\\", "\n", "\u2028", '"content":"', '","p":"', "data: [DONE]"])
MORE = st.sampled_from(
    [{}, {}, {}, {"usage": None}, {"p": "xyz"}, {"obfuscation": "a"}, {"obfuscation": "bcd"}, {"obfuscation": '"'}]
)
USAGE = {"prompt_tokens": 3, "completion_tokens": 4}


def chunk(text: str, more: dict[str, Any], *, index: int = 0, finish: str | None = None, model: str = "inner") -> bytes:
    """One event."""
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + orjson.dumps({"model": model, "choices": [choice], **more}) + b"\n\n"


SAYS = st.builds(chunk, TEXTS, MORE)
OTHERS = st.one_of(
    st.builds(chunk, TEXTS, MORE, index=st.just(1)),
    st.builds(chunk, TEXTS, MORE, model=st.just("another")),
    st.builds(chunk, TEXTS, MORE, finish=st.just("stop")),
    st.just(chunk("", {"usage": USAGE})),
    st.just(b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'),
    st.just(b"data: [DONE]\n\n"),
    st.just(b": ping\n\n"),
    st.just(b"data: "),
    st.just(b'data: {"error":{"message":"no"}}\n\n'),
    st.just(b"data: nonsense\n\n"),
    st.binary(max_size=12),
)
PIECES = st.lists(SAYS | SAYS | SAYS | OTHERS, max_size=14)
DAMAGE = st.none() | st.tuples(st.integers(0, 13), st.integers(0, 200), st.binary(min_size=1, max_size=2))


def answered(pieces: list[bytes], *, model: str, include_usage: bool, repeats: bool) -> tuple[bytes, int, Any]:
    """What a client gets and what is booked, and how many of the pieces were not read."""
    route = SNAPSHOT.route(model)
    assert route is not None
    assignment = Assignment(
        operation=Operation.CHAT,
        asked=model,
        model=model,
        stream=True,
        include_usage=include_usage,
        route=route.name,
        plan=(route.name,),
        retries=0,
        try_ms=2_000,
        idle_ms=1_000,
        arrived_ms=100_000,
        deadline_ms=None,
    )
    headers = Headers([(ASSIGNMENT, assignment.to_header().decode())])
    reply = Reply(begin_attempt(headers, route.targets[0], started=100.0, trace_ratio=None))
    reply.headers(HEADERS, end=False, now=101.0)
    got, unread = [], 0
    for piece in pieces:
        repeated = reply.repeat(piece) if repeats else None
        if repeated is not None:
            unread += 1
            got.append(repeated)
        elif reply.streaming:
            got.append(reply.flow(piece, 102.0))
        else:
            got += [step.data for step in reply.body(piece, end=False, now=102.0) if isinstance(step, Body)]
    got += [step.data for step in reply.body(b"", end=True, now=103.0) if isinstance(step, Body)]
    return b"".join(got), unread, reply.outcome


@given(pieces=PIECES, damage=DAMAGE, renamed=st.booleans(), include_usage=st.booleans())
def test_what_is_passed_on_unread_is_what_reading_it_would_give(
    pieces: list[bytes], damage: tuple[int, int, bytes] | None, *, renamed: bool, include_usage: bool
) -> None:
    """Also where a piece is damaged, or is no whole event."""
    if damage is not None and damage[0] < len(pieces):
        index, at, wrong = damage
        pieces = [*pieces[:index], pieces[index][:at] + wrong + pieces[index][at + 1 :], *pieces[index + 1 :]]
    model = "outer" if renamed else "inner"
    read = answered(pieces, model=model, include_usage=include_usage, repeats=False)
    unread = answered(pieces, model=model, include_usage=include_usage, repeats=True)
    assert (unread[0], unread[2]) == (read[0], read[2])


def test_nearly_all_of_a_stream_is_passed_on_unread() -> None:
    """All but the first two chunks, whose likeness is learnt, whatever they say; the time that some tell costs one."""
    pieces = [
        chunk(text, {"created": 7 + number // 50})
        for number, text in enumerate(["it", "says", '"ja\n"', "and", "ü"] * 30)
    ]
    for model in ("inner", "outer"):
        _, unread, outcome = answered(pieces, model=model, include_usage=False, repeats=True)
        assert len(pieces) - unread < 2 + 8 * 3
        assert outcome is not None
