"""What every framer is, and the error that cutting or decoding bytes can end in."""

from __future__ import annotations

from typing import Protocol, TypeVar

EventT = TypeVar("EventT")


class FramingError(ValueError):
    """Bytes that cannot be cut or decoded: garbled, truncated or too many. Its sentence never quotes them."""


class Framer(Protocol[EventT]):
    """Cuts one stream of bytes into events; the same bytes give the same events however they are chunked.

    A framer serves one stream and is not used again after ``close``.
    """

    @property
    def holds(self) -> bool:
        """Whether the next bytes are more than events of their own: others wait for them, or no event can come."""
        ...

    def feed(self, chunk: bytes) -> list[EventT]:
        """The events which this chunk completes, in order. Raises FramingError when the stream cannot be cut."""
        ...

    def close(self) -> list[EventT]:
        """The stream has ended: what was still held. Raises FramingError when it cannot end here."""
        ...
