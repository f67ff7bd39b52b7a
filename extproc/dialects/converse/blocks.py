"""Content blocks → Converse's: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from extproc.dialects.blocks.messages import NOTHING
from extproc.dialects.converse.models import Model
from extproc.errors import UnsupportedFeature

Json = dict[str, Any]

DOCUMENTS: Final[Mapping[str, str]] = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
}
"""Formats by media type."""

_IMAGES: Final = frozenset({"png", "jpeg", "gif", "webp"})
_BY_SUFFIX: Final = {"jpg": "jpeg", "htm": "html", "markdown": "md", "text": "txt"}
_UNSPEAKABLE: Final = re.compile(r"[^A-Za-z0-9 ()\[\]-]+")
_SPACES: Final = re.compile(r" {2,}")
_LONGEST_NAME: Final = 200
_NO_OUTPUT: Final = "(no output)"


class BlockWriter:
    """Writes the blocks of one request; documents get names of their own in it. ``dropped`` says what was left out."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._names: set[str] = set()
        self.dropped: set[str] = set()

    def content(self, content: Any) -> list[Json]:
        """A turn's content. A document never stands without text, which the provider refuses."""
        given = [{"type": "text", "text": content}] if isinstance(content, str) else content
        written = [block for one in given for block in self._marked(self._block(one), one)]
        kinds = {kind for block in written for kind in block}
        if "document" in kinds and "text" not in kinds:
            written.append({"text": NOTHING})
        return written or [{"text": NOTHING}]

    def system(self, blocks: Iterable[Json]) -> list[Json]:
        """Instructions, which are text. Raises UnsupportedFeature."""
        written: list[Json] = []
        for block in blocks:
            if block["type"] != "text":
                raise UnsupportedFeature("System messages can hold text only at this provider.", param="messages")
            written += self._marked({"text": block["text"]}, block)
        return written

    def mark_tool(self, source: Mapping[str, Any]) -> list[Json]:
        """The cache point behind a tool."""
        return self._mark(source, possible=self._model.caches_tools)

    def _mark(self, source: Mapping[str, Any], *, possible: bool) -> list[Json]:
        """The cache point for a ``cache_control`` marker; none where the model would refuse it."""
        marker = source.get("cache_control") or _inner_marker(source.get("content"))
        if not marker:
            return []
        long = isinstance(marker, dict) and marker.get("ttl") == "1h"
        if not possible or (long and not self._model.caches_long):
            self.dropped.add("messages.cache_control")
        if not possible:
            return []
        # Without a time it is five minutes.
        return [{"cachePoint": {"type": "default", **({"ttl": "1h"} if long and self._model.caches_long else {})}}]

    def _marked(self, block: Json | None, source: Mapping[str, Any]) -> list[Json]:
        return [] if block is None else [block, *self._mark(source, possible=self._model.caches)]

    def _block(self, block: Json) -> Json | None:
        match block["type"]:
            case "text":
                return {"text": block["text"]}
            case "image":
                return {"image": self._image(block["source"])}
            case "document":
                return {"document": self._document(block)}
            case "tool_use":
                return {"toolUse": {"toolUseId": block["id"], "name": block["name"], "input": block["input"]}}
            case "tool_result":
                return {"toolResult": self._result(block)}
            case _:
                return _thought(block)

    def _image(self, source: Json) -> Json:
        if source["type"] == "url":
            form = _suffix(source["url"])
            where = _in_s3(source["url"], "Images")
        else:
            form = str(source["media_type"]).removeprefix("image/")
            where = {"bytes": source["data"]}
        if form not in _IMAGES:
            raise UnsupportedFeature(
                f"Images of the type '{form}' are not supported by this provider.", param="messages"
            )
        return {"format": form, "source": where}

    def _document(self, block: Json) -> Json:
        source, name = block["source"], str(block.get("title", ""))
        if source["type"] == "url":
            form, where = _suffix(source["url"]), _in_s3(source["url"], "Files")
            if form not in DOCUMENTS.values():
                raise UnsupportedFeature(
                    f"Files of the type '{form}' are not supported by this provider.", param="messages"
                )
        elif source["type"] == "text":
            form, where = "txt", {"bytes": base64.b64encode(source["data"].encode()).decode()}
        else:
            form, where = DOCUMENTS[source["media_type"]], {"bytes": source["data"]}
        return {"format": form, "name": self._own_name(name), "source": where}

    def _own_name(self, given: str) -> str:
        """Of the characters that are allowed, and of no other document in the request."""
        stem = given.rpartition(".")[0] or given
        plain = _SPACES.sub(" ", _UNSPEAKABLE.sub(" ", stem))[: _LONGEST_NAME - 8].strip() or "document"
        name, count = plain, 1
        while name in self._names:
            count += 1
            name = f"{plain} {count}"
        self._names.add(name)
        return name

    def _result(self, block: Json) -> Json:
        content = block.get("content", _NO_OUTPUT)
        given = [{"type": "text", "text": content}] if isinstance(content, str) else content
        written = [one for part in given if (one := self._block(part)) is not None]
        result: Json = {"toolUseId": block["tool_use_id"], "content": written}
        if block.get("is_error"):
            if self._model.marks_errors:
                result["status"] = "error"
            else:
                written.insert(0, {"text": "The tool failed:"})
        return result


def _thought(block: Json) -> Json | None:
    if block["type"] == "redacted_thinking":
        return {"reasoningContent": {"redactedContent": block["data"]}}
    # Without a signature nobody can tell who thought it, and the provider refuses it.
    signed = {"text": block["thinking"], "signature": block["signature"]}
    return {"reasoningContent": {"reasoningText": signed}} if block["signature"] else None


def _inner_marker(content: Any) -> Any:
    """That of a part of a tool's result, inside of which no cache point may stand."""
    parts: list[Json] = content if isinstance(content, list) else []
    return next((part["cache_control"] for part in reversed(parts) if part.get("cache_control")), None)


def _suffix(address: str) -> str:
    ending = address.rpartition(".")[2].lower()
    return _BY_SUFFIX.get(ending, ending)


def _in_s3(address: str, what: str) -> Json:
    if not address.startswith("s3://"):
        raise UnsupportedFeature(
            f"{what} at a web address are not supported by this provider: send the data itself, or an s3:// address.",
            param="messages",
        )
    return {"s3Location": {"uri": address}}
