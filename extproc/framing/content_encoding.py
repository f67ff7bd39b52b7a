"""Content codings undone as the bytes arrive: gzip, deflate, br, zstd, and lists of them.

https://www.rfc-editor.org/rfc/rfc9110#section-8.4 names the codings and https://www.rfc-editor.org/rfc/rfc8878 zstd.
Every decoder gives what its input allows at once, so an event that was flushed is not kept waiting.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import brotli
import zstandard

from extproc.framing.base import FramingError

STREAM_FEED_LIMIT: Final = 16 << 20
"""Bytes that one feed of an unlimited decoder may grow to: far beyond any model's stream, far below a bomb's."""

_MOST_CODINGS: Final = 4
_GZIP_WINDOW_BITS: Final = 31
_ZLIB_WINDOW_BITS: Final = 15
_RAW_WINDOW_BITS: Final = -15
# https://www.rfc-editor.org/rfc/rfc9659: what a zstd encoder may ask of a decoder's memory.
_ZSTD_LARGEST_WINDOW: Final = 8 << 20
# What each coding is fed at once. gzip: a body of many tiny members is copied once for each, so pieces keep that small.
# zstd: it cannot be told how much to give; four bytes hold at most a block of 128 KiB, so a piece gives at most 32 MiB
# before it is counted.
_PIECE: Final = 64 << 10
_ZSTD_PIECE: Final = 1 << 10


class DecodingError(FramingError):
    """The bytes are not what their content coding says, or end before they are whole."""


class UnsupportedEncoding(DecodingError):
    """The content coding is none of ours, or the list of them is too long."""


class DecodedTooLarge(DecodingError):
    """Decoding gives more bytes than the limit."""


class Decoder(Protocol):
    """Undoes one body's content coding; used once."""

    def feed(self, data: bytes) -> bytes:
        """What these bytes give. Raises DecodingError for wrong bytes, DecodedTooLarge for too many."""
        ...

    def close(self) -> bytes:
        """The body has ended: what was still held. Raises DecodingError when it is cut off."""
        ...


def decoder_for(content_encoding: str, *, limit: int | None) -> Decoder:
    """The decoder for a ``content-encoding`` header, which may be empty or a list in the order of application.

    ``limit`` bounds the bytes given in total, and what each coding of a list gives. None is for streams, whose total
    has no bound: there each feed gives at most STREAM_FEED_LIMIT bytes, or as many as it was fed.
    Raises UnsupportedEncoding.
    """
    names = [name for part in content_encoding.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if len(names) > _MOST_CODINGS:
        raise UnsupportedEncoding(f"more than {_MOST_CODINGS} content codings")
    unknown = [name for name in names if name not in _CODINGS]
    if unknown:
        raise UnsupportedEncoding(f"the content coding {unknown[0][:40]!r} is not supported")
    if not names:
        return _Identity(limit)
    return _Chain([_Bounded(_CODINGS[name](), limit) for name in reversed(names)])


class _Identity:
    """The bytes as they are."""

    __slots__ = ("_limit", "_room")

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._room = limit

    def feed(self, data: bytes) -> bytes:
        if self._room is not None:
            self._room -= len(data)
            if self._room < 0:
                raise DecodedTooLarge(_too_large(self._limit))
        return data

    def close(self) -> bytes:
        return b""


class _Coding(Protocol):
    """One coding without a limit of its own."""

    piece: int
    """How many bytes it may be given at once."""

    def decode(self, data: bytes, room: int) -> bytes:
        """What these bytes give. It may stop early once that is more than ``room``: the caller then gives up."""
        ...

    def whole(self) -> bool:
        """Whether the bytes so far may be all."""
        ...


class _Bounded:
    """One coding with its limit. A body without a single byte is whole in any coding."""

    __slots__ = ("_coding", "_fed", "_limit", "_room")

    def __init__(self, coding: _Coding, limit: int | None) -> None:
        self._coding = coding
        self._fed = False
        self._limit = limit
        self._room = limit

    def feed(self, data: bytes) -> bytes:
        room = max(STREAM_FEED_LIMIT, len(data)) if self._room is None else self._room
        plain: list[bytes] = []
        for start in range(0, len(data), self._coding.piece):
            try:
                plain.append(self._coding.decode(data[start : start + self._coding.piece], room))
            except (zlib.error, brotli.error, zstandard.ZstdError) as error:
                raise DecodingError(f"the body is not what its content-encoding says: {error}") from None
            room -= len(plain[-1])
            if room < 0:
                raise DecodedTooLarge(_too_large(self._limit))
        self._fed = self._fed or bool(data)
        if self._room is not None:
            self._room = room
        return b"".join(plain)

    def close(self) -> None:
        if self._fed and not self._coding.whole():
            raise DecodingError("the body ends before its content-encoding says that it does")


class _Chain:
    """A list of codings, the last applied first."""

    __slots__ = ("_stages",)

    def __init__(self, stages: list[_Bounded]) -> None:
        self._stages = stages

    def feed(self, data: bytes) -> bytes:
        for stage in self._stages:
            data = stage.feed(data)
        return data

    def close(self) -> bytes:
        # Each stage gives all that it can at every feed, so none has anything left to hand on.
        for stage in self._stages:
            stage.close()
        return b""


class _Gzip:
    """https://www.rfc-editor.org/rfc/rfc1952: one member or more."""

    __slots__ = ("_member",)
    piece = _PIECE

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_WINDOW_BITS)

    def decode(self, data: bytes, room: int) -> bytes:
        plain: list[bytes] = []
        while data and room >= 0:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP_WINDOW_BITS)
            plain.append(self._member.decompress(data, room + 1))
            room -= len(plain[-1])
            data = self._member.unused_data
        return b"".join(plain)

    def whole(self) -> bool:
        return self._member.eof


class _Deflate:
    """zlib's format, https://www.rfc-editor.org/rfc/rfc1950, as HTTP says, or bare deflate, as some servers do it."""

    __slots__ = ("_head", "_stream")
    piece = _PIECE

    def __init__(self) -> None:
        self._head = b""
        self._stream: zlib._Decompress | None = None

    def decode(self, data: bytes, room: int) -> bytes:
        if self._stream is None:
            data = self._head + data
            if len(data) < 2:
                self._head = data
                return b""
            # A zlib header: method 8, and a multiple of 31. No bare deflate stream begins like that: its first block
            # would be a stored one with padding bits set.
            is_zlib = data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0
            self._stream = zlib.decompressobj(_ZLIB_WINDOW_BITS if is_zlib else _RAW_WINDOW_BITS)
        plain = self._stream.decompress(data, room + 1)
        if self._stream.unused_data:
            raise zlib.error("bytes after its end")
        return plain

    def whole(self) -> bool:
        return self._stream is not None and self._stream.eof


class _Brotli:
    """https://www.rfc-editor.org/rfc/rfc7932."""

    __slots__ = ("_stream",)
    piece = _PIECE

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def decode(self, data: bytes, room: int) -> bytes:
        plain: bytes = self._stream.process(data, output_buffer_limit=room + 1)
        return plain

    def whole(self) -> bool:
        finished: bool = self._stream.is_finished()
        return finished


class _Zstandard:
    """https://www.rfc-editor.org/rfc/rfc8878: one frame or more, skippable ones too."""

    __slots__ = ("_decompressor", "_frame")
    piece = _ZSTD_PIECE

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_LARGEST_WINDOW)
        self._frame = self._decompressor.decompressobj()

    def decode(self, data: bytes, room: int) -> bytes:  # noqa: ARG002 - its piece is what bounds it
        plain: list[bytes] = []
        while data:
            if self._frame.eof:
                self._frame = self._decompressor.decompressobj()
            plain.append(self._frame.decompress(data))
            data = self._frame.unused_data
        return b"".join(plain)

    def whole(self) -> bool:
        return self._frame.eof


def _too_large(limit: int | None) -> str:
    if limit is None:
        return f"a piece of the decoded stream is larger than {STREAM_FEED_LIMIT} bytes"
    return f"the decoded body is larger than {limit} bytes"


_CODINGS: Final[Mapping[str, Callable[[], _Coding]]] = {
    "gzip": _Gzip,
    "x-gzip": _Gzip,
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": _Zstandard,
}
"""https://www.iana.org/assignments/http-parameters/http-parameters.xhtml#content-coding"""
