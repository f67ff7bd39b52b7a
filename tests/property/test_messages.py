"""A stream's events, read and written without protobuf: what it would have read and written."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from extproc.exchange.steps import Body
from extproc.pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.server.messages import body_replies, read_piece

# Around each length whose own length is written in a byte more, and around the longest that is remembered.
SIZES = st.one_of(st.integers(0, 400), st.integers(4_050, 4_150), st.just(200_000))
NO_METADATA = b"B\x00"
AFTER = [b"", NO_METADATA, NO_METADATA * 2, b"Z\x02\x08\x02", b"Z\x00", b'"\x00']
"""Of these, the last one is a request's body, which takes the reply's place."""


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Of any size, with what frames a message inside of them."""
    size = draw(SIZES)
    return (draw(st.sampled_from([b"", b"*", b"B\x00"])) + bytes(range(256)) * (size // 256 + 1))[:size]


@given(body=bodies(), rest=st.sampled_from(AFTER))
def test_piece_is_what_protobuf_reads(body: bytes, rest: bytes) -> None:
    """An event as Envoy writes it is read in the short way, and whatever that reads is what it is."""
    message = ProcessingRequest(response_body={"body": body}).SerializeToString() + rest
    piece = read_piece(message)
    read = ProcessingRequest.FromString(message)
    assert piece is None or (read.WhichOneof("request"), piece) == ("response_body", read.response_body.body)
    if rest == NO_METADATA and body and len(message) <= 4_096:
        assert piece == body


@given(
    body=bodies(),
    part=st.sampled_from(["request_body", "response_body"]),
    end=st.booleans(),
    at=st.integers(0, 10),
    byte=st.integers(0, 255),
)
@example(body=b"x", part="request_body", end=False, at=10, byte=0)
@example(body=b"x", part="response_body", end=True, at=10, byte=0)
def test_anything_else_is_left_to_protobuf(body: bytes, part: str, end: bool, at: int, byte: int) -> None:
    """A request's body, a reply's end, and whatever has other bytes where a piece is framed."""
    right = ProcessingRequest(**{part: {"body": body, "end_of_stream": end}}).SerializeToString() + NO_METADATA
    message = right[:at] + bytes([byte]) + right[at + 1 :]
    piece = read_piece(message)
    if piece is not None:
        read = ProcessingRequest.FromString(message)
        assert read.WhichOneof("request") == "response_body"
        assert (read.response_body.body, read.response_body.end_of_stream) == (piece, False)


@given(data=bodies(), end=st.booleans())
def test_body_is_written_as_protobuf_does(data: bytes, end: bool) -> None:
    """Byte by byte; only the last message ends the reply."""
    written = body_replies(Body(data=data, end=end))
    pieces = [data[start : start + (64 << 10)] for start in range(0, len(data), 64 << 10)] or [b""]
    assert len(written) == len(pieces)
    for index, (message, piece) in enumerate(zip(written, pieces, strict=True), 1):
        response = ProcessingResponse()
        streamed = response.response_body.response.body_mutation.streamed_response
        streamed.body, streamed.end_of_stream = piece, end and index == len(pieces)
        assert message == response.SerializeToString()
