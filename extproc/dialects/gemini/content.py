"""Content parts → parts: text, images, audio and files. https://ai.google.dev/api/caching#Part

Nothing is ever fetched here: an address is passed on for the provider to fetch.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from extproc.errors import InvalidRequest, UnsupportedFeature

Part = dict[str, Any]

_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[^;,]*)*),")
_READABLE: Final = re.compile(r"(?:text|image|audio|video)/.+|application/(?:pdf|json|x-javascript|x-python)")
# https://ai.google.dev/gemini-api/docs/audio#supported-formats; OpenAI's own names are wav and mp3.
_AUDIO: Final = {
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "aiff": "audio/aiff",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
}
_BY_SUFFIX: Final = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "html": "text/html",
    "csv": "text/csv",
    "md": "text/markdown",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    **_AUDIO,
}


def content_parts(content: Any, where: str, *, cloud: bool) -> list[Part]:
    """A message's content. Empty text, which the provider refuses, is left out.

    Raises InvalidRequest and UnsupportedFeature; ``where`` is what their ``param`` begins with.
    """
    if isinstance(content, str):
        return [{"text": content}] if content else []
    if content is None:
        return []
    if not isinstance(content, list):
        raise InvalidRequest(f"Invalid type for '{where}.content': expected a string or an array.", param=where)
    parts: list[Part] = []
    for index, part in enumerate(content):
        place = f"{where}.content[{index}]"
        if not isinstance(part, dict):
            raise InvalidRequest(f"Invalid type for '{place}': expected an object.", param=place)
        written = _part(part, place, cloud=cloud)
        if written is not None:
            parts.append(written)
    return parts


def _part(part: Mapping[str, Any], place: str, *, cloud: bool) -> Part | None:
    kind = part.get("type")
    if kind in ("text", "refusal"):
        text = part.get(kind)
        if not isinstance(text, str):
            raise InvalidRequest(f"Invalid type for '{place}.{kind}': expected a string.", param=f"{place}.{kind}")
        return {"text": text} if text else None
    if kind == "image_url":
        return _image(part.get("image_url"), f"{place}.image_url", cloud=cloud)
    if kind == "input_audio":
        return _audio(part.get("input_audio"), f"{place}.input_audio")
    if kind == "file":
        return _file(part.get("file"), f"{place}.file", cloud=cloud)
    raise UnsupportedFeature(f"Content parts of the type '{kind}' are not supported by this provider.", param=place)


def _image(image: Any, place: str, *, cloud: bool) -> Part:
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise InvalidRequest(f"Missing required parameter: '{place}.url'.", param=f"{place}.url")
    if _is_address(url, cloud=cloud):
        return _by_reference(url, f"{place}.url", cloud=cloud)
    return _inline(*_data(url, f"{place}.url"), f"{place}.url")


def _audio(audio: Any, place: str) -> Part:
    data = audio.get("data") if isinstance(audio, dict) else None
    kind = _AUDIO.get(str(audio.get("format"))) if isinstance(audio, dict) else None
    if not isinstance(data, str):
        raise InvalidRequest(f"Missing required parameter: '{place}.data'.", param=f"{place}.data")
    if kind is None:
        raise UnsupportedFeature(f"'{place}.format' must be one of {', '.join(_AUDIO)} for this provider.", param=place)
    _check_base64(data, f"{place}.data")
    return {"inlineData": {"mimeType": kind, "data": data}}


def _file(file: Any, place: str, *, cloud: bool) -> Part:
    data = file.get("file_data") if isinstance(file, dict) else None
    if not isinstance(data, str):
        raise UnsupportedFeature(f"'{place}' must bring its content as 'file_data' for this provider.", param=place)
    if _is_address(data, cloud=cloud):
        return _by_reference(data, f"{place}.file_data", cloud=cloud)
    return _inline(*_data(data, f"{place}.file_data"), place)


def _inline(kind: str, data: str, place: str) -> Part:
    if not _READABLE.fullmatch(kind):
        raise UnsupportedFeature(f"Files of the type '{kind}' are not supported by this provider.", param=place)
    return {"inlineData": {"mimeType": kind, "data": data}}


def _is_address(url: str, *, cloud: bool) -> bool:
    return url.startswith(("https://", "http://")) or (cloud and url.startswith("gs://"))


def _by_reference(url: str, place: str, *, cloud: bool) -> Part:
    """https://ai.google.dev/gemini-api/docs/file-input-methods#external-urls

    Google Cloud wants the type to be told, and only the address can tell it.
    """
    try:
        kind = _BY_SUFFIX.get(urlsplit(url).path.rpartition(".")[2].lower())
    except ValueError:
        raise InvalidRequest(f"Invalid value for '{place}': this is not a URL.", param=place) from None
    if kind is not None:
        return {"fileData": {"mimeType": kind, "fileUri": url}}
    if cloud:
        message = f"The type of '{place}' cannot be told from its address, as this provider needs it: send a data URL."
        raise UnsupportedFeature(message, param=place)
    return {"fileData": {"fileUri": url}}


def _data(url: str, place: str) -> tuple[str, str]:
    """The media type and the base64 text of a data URL (RFC 2397)."""
    found = _DATA_URL.match(url)
    if found is None:
        raise InvalidRequest(f"Invalid value for '{place}': expected a data URL or an https URL.", param=place)
    kind, parameters, data = found[1] or "text/plain", found[2], url[found.end() :]
    if not parameters.endswith(";base64"):
        raise InvalidRequest(f"Invalid value for '{place}': a data URL must be base64-encoded.", param=place)
    _check_base64(data, place)
    return ("image/jpeg" if kind == "image/jpg" else kind), data


def _check_base64(data: str, place: str) -> None:
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"Invalid value for '{place}': the data is not valid base64.", param=place) from None
