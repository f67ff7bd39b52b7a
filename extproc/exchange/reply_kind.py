"""What a provider's reply is by its content type: a document, or events, and in which framing."""

from __future__ import annotations

from typing import Final

from extproc.framing.base import Framer
from extproc.framing.event_stream import CONTENT_TYPE, EventStreamFramer
from extproc.framing.sse import Event, SseFramer
from extproc.headers import Headers

_DOCUMENTS: Final = ("application/json", "text/html", "application/xhtml+xml", "application/xml", "text/xml")
"""What is no stream, whatever was asked for: an error, or the page of a proxy in between."""
_LONGEST_EVENT: Final = 32 << 20


def is_document(headers: Headers) -> bool:
    """Whether it is read as a whole."""
    return headers.get("content-type", "").lower().startswith(_DOCUMENTS)


def is_event_stream(headers: Headers) -> bool:
    """Whether its events are AWS's."""
    return headers.get("content-type", "").lower().startswith(CONTENT_TYPE)


def framer_for(headers: Headers) -> Framer[Event]:
    """By what the provider says it sends: what it was asked for is the dialect's business."""
    framer = EventStreamFramer if is_event_stream(headers) else SseFramer
    return framer(limit=_LONGEST_EVENT)
