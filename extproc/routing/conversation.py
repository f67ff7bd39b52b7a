"""What a conversation is known by: its first system message and its first user message, which every turn repeats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final

_OPENING: Final = 4_096
"""Characters of a message that are looked at: enough to tell conversations apart, and no image is hashed whole."""
_INSTRUCTIONS: Final = frozenset({"system", "developer"})


def conversation_of(fields: Mapping[str, Any]) -> str | None:
    """A digest of the beginning of ``messages``; None when no user has spoken."""
    messages = [message for message in fields.get("messages", ()) if isinstance(message, dict)]
    user = next((message for message in messages if message.get("role") == "user"), None)
    if user is None:
        return None
    system = next((message for message in messages if message.get("role") in _INSTRUCTIONS), None)
    digest = blake2b(digest_size=16)
    for message in (system, user):
        for text in _texts({} if message is None else message):
            digest.update(text[:_OPENING].encode("utf-8", "surrogatepass"))
            digest.update(b"\0")
        digest.update(b"\0")
    return digest.hexdigest()


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        match part:
            case {"type": "text", "text": str(text)}:
                yield text
            case {"image_url": {"url": str(url)}}:
                yield url
            case {"file": {"file_id": str(name)}} | {"file": {"file_data": str(name)}}:
                yield name
            case {"input_audio": {"data": str(sound)}}:
                yield sound
