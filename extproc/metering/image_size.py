"""How large an image is, by the first bytes of its data URL: nothing is decoded but the header.

PNG: https://www.w3.org/TR/png-3/#11IHDR, GIF: https://www.w3.org/Graphics/GIF/spec-gif89a.txt,
WebP: https://developers.google.com/speed/webp/docs/riff_container, JPEG: https://www.w3.org/Graphics/JPEG/itu-t81.pdf
"""

from __future__ import annotations

import binascii
from typing import Final, TypeAlias

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""

# A JPEG's frame comes after its thumbnail and colour profile.
_HEADER: Final = 128 << 10
_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def data_url_bytes(url: str, most: int) -> bytes:
    """The first ``most`` bytes of a base64 data URL's data; fewer where it ends or is not base64."""
    start = url.find(",", 0, 1_024) + 1
    if not url.startswith("data:") or start == 0:
        return b""
    text = url[start : start + (most + 2) // 3 * 4]
    try:
        return binascii.a2b_base64(text[: len(text) // 4 * 4])
    except (binascii.Error, ValueError):
        return b""


def image_size(url: str) -> Size | None:
    """Of the image in a data URL; None for an address elsewhere and for formats that are not known."""
    head = data_url_bytes(url, 64)
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    if head.startswith((b"GIF87a", b"GIF89a")) and len(head) >= 10:
        return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp(head)
    if head.startswith(b"\xff\xd8"):
        return _jpeg(data_url_bytes(url, _HEADER))
    return None


def _webp(head: bytes) -> Size | None:
    match head[12:16]:
        case b"VP8 " if len(head) >= 30:
            return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
        case b"VP8L" if len(head) >= 25:
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X" if len(head) >= 30:
            return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    return None


def _jpeg(data: bytes) -> Size | None:
    """Walks the segments to the start of the frame."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] in _START_OF_FRAME:
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None
