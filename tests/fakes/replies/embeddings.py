"""POST /embeddings: https://platform.openai.com/docs/api-reference/embeddings."""

from __future__ import annotations

import base64
import hashlib
import math
import struct

from tests.fakes.replies.persona import Call
from tests.fakes.replies.wording import tokens_in
from tests.fakes.steps import Reply, json_reply

DEFAULT_SIZE = 8  # dimensions; a real provider has 1536


def answer(call: Call) -> Reply:
    """The reply to a checked request; base64 holds little-endian 32-bit floats, and exactly those of the other form."""
    texts = _texts(call.body["input"])
    size = call.body.get("dimensions") or DEFAULT_SIZE
    packed = [vector_of(text, size) for text in texts]
    in_base64 = call.body.get("encoding_format") == "base64"
    tokens = sum(map(tokens_in, texts))
    return json_reply(
        {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": base64.b64encode(vector).decode() if in_base64 else struct.unpack(f"<{size}f", vector),
                }
                for index, vector in enumerate(packed)
            ],
            "model": call.persona.model_in_replies(call.body["model"]),
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _texts(given: str | list[str] | list[int] | list[list[int]]) -> list[str]:
    """One text for each embedding; token numbers are as many words."""
    if isinstance(given, str):
        return [given]
    if all(isinstance(part, int) for part in given):
        return [" ".join(map(str, given))]
    return [part if isinstance(part, str) else " ".join(map(str, part)) for part in given if not isinstance(part, int)]


def vector_of(text: str, size: int) -> bytes:
    """``size`` little-endian 32-bit floats of length one, drawn from the text's hash."""
    digest = hashlib.shake_128(text.encode("utf-8", "replace")).digest(2 * size)
    numbers = [number / 32768 for number in struct.unpack(f"<{size}h", digest)]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return struct.pack(f"<{size}f", *(number / length for number in numbers))
