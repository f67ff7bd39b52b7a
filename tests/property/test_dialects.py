"""Dialects meet whatever comes: a request or a reply of any shape gives a result or one of our own errors."""

from __future__ import annotations

import contextlib
import copy
import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects.base import UpstreamReply
from extproc.errors import ClientError, UpstreamError
from extproc.headers import Headers
from extproc.openai.call import Call, Operation, parse_call
from tests.golden.dialects import DIALECTS, Dialect, cases, replies

REQUESTS = [json.loads((case / "client.request.json").read_bytes()) for case in cases()]
CALL = Call(operation=Operation.CHAT, model="asked", body=b"{}", stream=True, include_usage=True)
ODD: list[Any] = [None, True, 0, -1, 2**64, 1.5, "", "x", [], [None], ["x"], {}, {"x": 1}, [[]], [{}]]


def damaged(data: st.DataObject, document: Any) -> Any:
    """The document with one to three of its values, anywhere, exchanged for odd ones or taken away."""
    document = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = document
        while isinstance(place, dict | list) and place:
            keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and data.draw(st.integers(0, 3)):
                place = place[key]
                continue
            if isinstance(place, dict) and data.draw(st.booleans()):
                del place[key]
            else:
                place[key] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
            break
    return document


def is_object(text: bytes) -> bool:
    """Some events have been recorded broken, and some are no JSON at all."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@settings(max_examples=100)
@given(data=st.data())
def test_request_of_any_shape_is_encoded_or_refused(dialect: Dialect, data: st.DataObject) -> None:
    """Never a crash, which would be the gateway's fault where the client is to blame."""
    body = json.dumps(damaged(data, data.draw(st.sampled_from(REQUESTS)))).encode()
    model = data.draw(st.sampled_from((dialect.model, *dialect.others)))
    try:
        request = dialect.translator.encode(parse_call(Operation.CHAT, body), model)
    except ClientError:
        return
    assert isinstance(json.loads(body if request.body is None else request.body), dict)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@settings(max_examples=100)
@given(data=st.data())
def test_whole_reply_of_any_shape_is_decoded_or_refused(dialect: Dialect, data: st.DataObject) -> None:
    """A provider's nonsense is a failure of the provider, so that the next one is asked."""
    paths = [case / f"{dialect.name}.reply.json" for case, of, kind in replies() if of is dialect and kind == "json"]
    body = json.dumps(damaged(data, json.loads(data.draw(st.sampled_from(paths)).read_bytes()))).encode()
    reply = UpstreamReply(status=200, headers=Headers(), body=body)
    try:
        answer = dialect.translator.decode(reply, CALL)
    except UpstreamError:
        return
    body = orjson.loads(answer.body)
    assert isinstance(body, dict) if dialect.compatible else body["object"] == "chat.completion"


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@settings(max_examples=100)
@given(data=st.data())
def test_stream_of_any_shape_is_decoded_or_refused(dialect: Dialect, data: st.DataObject) -> None:
    """Event by event; what has been given before is whole events."""
    streamed = [case for case, of, kind in replies() if of is dialect and kind == "sse"]
    events = dialect.framer().feed(dialect.recorded_stream(data.draw(st.sampled_from(streamed))))
    place = data.draw(st.integers(0, len(events) - 1))
    stream = dialect.translator.stream(CALL)
    with contextlib.suppress(UpstreamError):
        for index, event in enumerate(events):
            shown = event
            if index == place and is_object(event.data):
                changed = json.dumps(damaged(data, json.loads(event.data))).encode()
                shown = replace(event, data=changed)
            assert stream.event(shown)[-2:] in {b"", b"\n\n"}
        stream.close()


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@given(body=st.binary(max_size=60) | st.sampled_from(ODD).map(json.dumps).map(str.encode), status=st.integers(400, 599))
def test_error_of_any_shape_is_understood(dialect: Dialect, body: bytes, status: int) -> None:
    """There is always a sentence for the client."""
    reply = UpstreamReply(status=status, headers=Headers(), body=body)
    assert dialect.translator.decode_error(reply).message
    wrapped = UpstreamReply(status=status, headers=Headers(), body=b'{"type":"error","error":%b}' % body)
    assert dialect.translator.decode_error(wrapped).message
