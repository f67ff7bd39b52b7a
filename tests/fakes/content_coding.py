"""Compressing a reply piece by piece, each piece readable as soon as it arrives, as providers do with streams."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli
import zstandard


class Coder(Protocol):
    """One reply's compressor."""

    def feed(self, data: bytes) -> bytes:
        """The compressed ``data``, flushed: the peer can read all of it now."""

    def close(self) -> bytes:
        """What ends the compressed body."""


class Gzip:
    """https://www.rfc-editor.org/rfc/rfc1952, without a time stamp, so that equal replies have equal bytes."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(wbits=31)

    def feed(self, data: bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def close(self) -> bytes:
        return self._compressor.flush(zlib.Z_FINISH)


class Brotli:
    """https://www.rfc-editor.org/rfc/rfc7932."""

    def __init__(self) -> None:
        self._compressor = brotli.Compressor(quality=4)

    def feed(self, data: bytes) -> bytes:
        return bytes(self._compressor.process(data) + self._compressor.flush())

    def close(self) -> bytes:
        return bytes(self._compressor.finish())


class Zstandard:
    """https://www.rfc-editor.org/rfc/rfc8878."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor().compressobj()

    def feed(self, data: bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def close(self) -> bytes:
        return self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)


CODERS: dict[str, Callable[[], Coder]] = {"gzip": Gzip, "br": Brotli, "zstd": Zstandard}
