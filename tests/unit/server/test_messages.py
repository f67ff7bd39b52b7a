"""What is written to Envoy: changes of headers that many requests share are written once, and are the same for all."""

from __future__ import annotations

import tracemalloc

from extproc.exchange.attempt import UpstreamHeaders
from extproc.exchange.steps import Head
from extproc.pb.ext_proc_pb2 import HeaderMutation, HttpHeaders, ProcessingResponse
from extproc.server import messages


def changes(mutation: HeaderMutation) -> tuple[dict[str, str], list[str]]:
    """What it sets, and what it removes."""
    named = {option.header.key: option.header.raw_value.decode() for option in mutation.set_headers}
    assert len(named) == len(mutation.set_headers)
    return named, list(mutation.remove_headers)


def read_head(length: int, *, model: str = "m", removed: tuple[str, ...] = ("set-cookie",)) -> HeaderMutation:
    """A reply's head as Envoy reads it."""
    fields = (("content-length", str(length)), ("x-kortex-model", model), ("x-kortex-usage", f"output={length}"))
    written = messages.head_reply(Head(status=200, set_headers=fields, remove_headers=removed))
    return ProcessingResponse.FromString(written).response_headers.response.header_mutation


def test_heads_share_what_is_the_same_and_nothing_else() -> None:
    """Each reply has its own length and usage, also where another one had the same model before it."""
    for length, model in ((1, "m"), (2, "m"), (1, "n")):
        expected = {
            ":status": "200",
            "content-length": str(length),
            "x-kortex-model": model,
            "x-kortex-usage": f"output={length}",
        }
        assert changes(read_head(length, model=model)) == (expected, ["set-cookie"])


def test_long_names_of_removed_headers_are_not_kept() -> None:
    """They are the other side's to make up: whoever sends others each time must not fill the memory."""
    read_head(1, removed=("x-0",))
    tracemalloc.start()
    try:
        for number in range(200):
            long = tuple(f"x-{number}-{line}-{'n' * 1_000}" for line in range(20))
            assert changes(read_head(1, removed=long))[1] == list(long)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1 << 20


def test_request_with_a_body_has_its_headers_and_its_body() -> None:
    """The two are written apart, in one message."""
    fields = ((":path", "/v1/x"), ("authorization", "Bearer s"), ("content-length", "2"))
    upstream = UpstreamHeaders(set_headers=fields, remove_headers=("cookie",), body=b"{}")
    response = ProcessingResponse.FromString(messages.upstream_reply(upstream)).request_body.response
    assert changes(response.header_mutation) == (dict(fields), ["cookie"])
    assert response.body_mutation.body == b"{}"


def test_repeated_headers_are_joined() -> None:
    """Also on the short way that headers without repetitions take."""
    message = HttpHeaders()
    for name, value in (("a", b"1"), ("b", b"\xff"), ("a", b"2")):
        message.headers.headers.add(key=name, raw_value=value)
    headers = messages.read_headers(message)
    assert (dict(headers.items()), headers.lines) == ({"a": "1, 2", "b": "\udcff"}, 3)
    del message.headers.headers[2]
    headers = messages.read_headers(message)
    assert (dict(headers.items()), headers.lines, headers.size) == ({"a": "1", "b": "\udcff"}, 2, 4)
