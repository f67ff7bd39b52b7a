"""What happened at a fake, written by its thread, read and awaited by tests in theirs."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.fakes.recorded import Recorded


class Journal:
    """Requests, open connections and failures of one fake; safe to use from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests: list[Recorded] = []
        self._received = 0
        self._connections = 0
        self._open = 0
        self._active = 0
        self._failures: list[BaseException] = []

    @property
    def requests(self) -> list[Recorded]:
        """A copy of the list; the records in it go on changing until they are finished."""
        with self._changed:
            return list(self._requests)

    @property
    def open_connections(self) -> int:
        """Connections accepted and not yet ended by either side."""
        with self._changed:
            return self._open

    @property
    def active(self) -> int:
        """Requests received whole and not yet answered to the end or abandoned."""
        with self._changed:
            return self._active

    @property
    def failures(self) -> list[BaseException]:
        """What the fake itself could not do: a fault that does not fit the reply, an error in ``decide``."""
        with self._changed:
            return list(self._failures)

    def clear(self) -> None:
        """Forget the requests; numbers go on, connections and requests in progress still count."""
        with self._changed:
            self._requests.clear()

    def opened(self) -> int:
        """A connection was accepted; its number."""
        with self._changed:
            self._open += 1
            self._connections += 1
            self._changed.notify_all()
            return self._connections

    def closed(self) -> None:
        """A connection ended."""
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def next_number(self) -> int:
        """The number of the request that is being recorded."""
        with self._changed:
            self._received += 1
            return self._received

    def received(self, request: Recorded) -> None:
        """A request arrived whole."""
        with self._changed:
            self._requests.append(request)
            self._active += 1
            self._changed.notify_all()

    def progressed(self, request: Recorded, size: int) -> None:
        """``size`` more bytes of the reply were sent."""
        with self._changed:
            request.bytes_sent += size
            self._changed.notify_all()

    def finished(self, request: Recorded) -> None:
        """The reply's plan ran to its end."""
        with self._changed:
            request.finished = True
            self._active -= 1
            self._changed.notify_all()

    def abandoned(self, request: Recorded, when: float | None) -> None:
        """The reply was given up: the client left at ``when``, or the fake itself ended (None)."""
        with self._changed:
            request.client_disconnected_at = when
            self._active -= 1
            self._changed.notify_all()

    def failed(self, error: BaseException) -> None:
        """The fake could not do its part; the test that owns it shall fail."""
        with self._changed:
            self._failures.append(error)
            self._changed.notify_all()

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """Whether ``predicate`` came true within ``timeout`` seconds; it is asked again after every change."""
        with self._changed:
            return self._changed.wait_for(predicate, timeout)
