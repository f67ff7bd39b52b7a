"""AWS's binary event stream, written: botocore can only read it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

Value = bool | int | bytes | str


def message(headers: Mapping[str, Value], payload: bytes) -> bytes:
    """One message. Integers are written as 64 bits."""
    return framed(b"".join(_header(name, value) for name, value in headers.items()), payload)


def framed(written: bytes, payload: bytes = b"") -> bytes:
    """A message with these bytes for its headers, whatever they are."""
    prelude = struct.pack(">II", 16 + len(written) + len(payload), len(written))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + written + payload
    return body + struct.pack(">I", zlib.crc32(body))


def event(kind: str, payload: bytes) -> bytes:
    """An event as Bedrock sends it."""
    return message({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, payload)


def exception(kind: str, payload: bytes) -> bytes:
    """An exception in the middle of a stream."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, payload)


def _header(name: str, value: Value) -> bytes:
    head = bytes([len(name.encode())]) + name.encode()
    match value:
        case bool():
            return head + (b"\x00" if value else b"\x01")
        case int():
            return head + b"\x05" + struct.pack(">q", value)
        case bytes():
            return head + b"\x06" + struct.pack(">H", len(value)) + value
        case str():
            return head + b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()
