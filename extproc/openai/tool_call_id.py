"""What a provider wants to see again, kept by clients that keep only OpenAI's fields: it rides in a tool call's id.

Anthropic's thinking blocks and Gemini's thought signatures must come back unchanged in the next turn of a tool loop.
A client returns a tool call's ``id`` twice, opaque to it, so that is the one place where nothing gets lost:

    toolu_01A.kortex-anthropic.eJyrVkrOT0lVslJQMg...

is the provider's own id, a mark with the name of the dialect that may read the rest, and the payload (deflated,
base64url). An id without the mark is just an id. Before an id reaches any provider, mark and payload are cut off.
"""

from __future__ import annotations

import re
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

MARK: Final = ".kortex-"
LONGEST: Final = 64 << 10
"""Characters an id may have; a longer payload is left out, and the provider goes without."""

_LARGEST_PAYLOAD: Final = 1 << 20
_CARRIED: Final = re.compile(r"\.kortex-([a-z_]+)\.([A-Za-z0-9_-]*)$")
_CARRIED_IN_JSON: Final = re.compile(rb'\.kortex-[a-z_]+\.[A-Za-z0-9_-]*(?=")')


def carry(identifier: str, dialect: str, payload: bytes) -> str:
    """The id with the payload behind it; the bare id where that would be longer than ``LONGEST``."""
    text = urlsafe_b64encode(zlib.compress(payload, 9)).rstrip(b"=").decode()
    carried = f"{identifier}{MARK}{dialect}.{text}"
    return carried if len(carried) <= LONGEST else identifier


def bare(identifier: str) -> str:
    """The provider's own id."""
    return _CARRIED.sub("", identifier) if MARK in identifier else identifier


def carried(identifier: str, dialect: str) -> bytes | None:
    """The payload that this dialect has put there; None for another dialect's, a damaged one, or none."""
    found = _CARRIED.search(identifier) if MARK in identifier else None
    if found is None or found[1] != dialect:
        return None
    try:
        data = urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4))
        inflate = zlib.decompressobj()
        payload = inflate.decompress(data, _LARGEST_PAYLOAD)
    except (ValueError, zlib.error):
        return None
    return payload if inflate.eof else None


def without_carried(body: bytes) -> bytes:
    """A request's JSON text with bare ids only, all other bytes untouched."""
    return _CARRIED_IN_JSON.sub(b"", body)
