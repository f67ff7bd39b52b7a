"""Content parts → content blocks: text, images and documents. https://platform.claude.com/docs/en/api/messages

Nothing is ever fetched here: an address is passed on for the provider to fetch.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

from extproc.errors import InvalidRequest, UnsupportedFeature

Block = dict[str, Any]

_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[^;,]*)*),")
PDF: Final = frozenset({"application/pdf"})
_ADDRESSES: Final = ("https://", "http://", "s3://")


def content_blocks(content: Any, where: str, documents: frozenset[str] = PDF) -> list[Block]:
    """A message's content. Text that is empty or only white space, which the provider refuses, is left out.

    ``documents`` are the media types that it takes as they are; other text is a document of plain text. Raises
    InvalidRequest and UnsupportedFeature; ``where`` is what their ``param`` begins with.
    """
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    if content is None:
        return []
    if not isinstance(content, list):
        raise InvalidRequest(f"Invalid type for '{where}.content': expected a string or an array.", param=where)
    blocks: list[Block] = []
    for index, part in enumerate(content):
        place = f"{where}.content[{index}]"
        if not isinstance(part, dict):
            raise InvalidRequest(f"Invalid type for '{place}': expected an object.", param=place)
        block = _block(part, place, documents)
        if block is not None:
            blocks.append(with_cache_control(block, part))
    return blocks


def with_cache_control(block: Block, source: Mapping[str, Any]) -> Block:
    """The block with the marker that stands at its source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching"""
    marker = source.get("cache_control")
    return {**block, "cache_control": marker} if marker else block


def _block(part: Mapping[str, Any], place: str, documents: frozenset[str]) -> Block | None:
    kind = part.get("type")
    if kind in {"text", "refusal"}:
        text = part.get(kind)
        if not isinstance(text, str):
            raise InvalidRequest(f"Invalid type for '{place}.{kind}': expected a string.", param=f"{place}.{kind}")
        return {"type": "text", "text": text} if text.strip() else None
    if kind == "image_url":
        return _image(part.get("image_url"), f"{place}.image_url")
    if kind == "file":
        return _document(part.get("file"), f"{place}.file", documents)
    raise UnsupportedFeature(f"Content parts of the type '{kind}' are not supported by this provider.", param=place)


def _image(image: Any, place: str) -> Block:
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise InvalidRequest(f"Missing required parameter: '{place}.url'.", param=f"{place}.url")
    if url.startswith(_ADDRESSES):
        return {"type": "image", "source": {"type": "url", "url": url}}
    media_type, data = _data(url, f"{place}.url")
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def _document(file: Any, place: str, documents: frozenset[str]) -> Block:
    data = file.get("file_data") if isinstance(file, dict) else None
    if not isinstance(data, str):
        raise UnsupportedFeature(f"'{place}' must bring its content as 'file_data' for this provider.", param=place)
    if data.startswith(("https://", "s3://")):
        return _titled({"type": "url", "url": data}, file)
    media_type, encoded = _data(data, f"{place}.file_data")
    if media_type in documents:
        return _titled({"type": "base64", "media_type": media_type, "data": encoded}, file)
    if media_type.startswith("text/"):
        text = base64.b64decode(encoded).decode("utf-8", "replace")
        return _titled({"type": "text", "media_type": "text/plain", "data": text}, file)
    raise UnsupportedFeature(f"Files of the type '{media_type}' are not supported by this provider.", param=place)


def _titled(source: Block, file: Mapping[str, Any]) -> Block:
    name = file.get("filename")
    title = {"title": name} if isinstance(name, str) and name else {}
    return {"type": "document", "source": source, **title}


def _data(url: str, place: str) -> tuple[str, str]:
    """The media type and the base64 text of a data URL (RFC 2397)."""
    found = _DATA_URL.match(url)
    if found is None:
        raise InvalidRequest(f"Invalid value for '{place}': expected a data URL or an https URL.", param=place)
    media_type, parameters, data = found[1] or "text/plain", found[2], url[found.end() :]
    if not parameters.endswith(";base64"):
        raise InvalidRequest(f"Invalid value for '{place}': a data URL must be base64-encoded.", param=place)
    try:
        base64.b64decode(data, validate=True)
    except binascii.Error:
        raise InvalidRequest(f"Invalid value for '{place}': the data is not valid base64.", param=place) from None
    return ("image/jpeg" if media_type == "image/jpg" else media_type), data
