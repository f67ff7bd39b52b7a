"""What gRPC's core has to tell, heard on the event loop's own thread.

A thread that polls wakes for each event, asks for Python's lock, which the event loop has to win back in the middle of
its work, and wakes the event loop. Here the event loop watches the epoll that the core waits with, and asks the core
for its events when that has some: the core then reads from the connections on this thread, too.

Two things come without that file's telling. What the core completes while it is given something to do is looked for at
the end of the turn (``soon``). And some is completed by a thread of the core. That reads what a new connection begins
with; and where a client's RST_STREAM is read together with what it sent next, the core leaves the rest to its pool, so
that nobody keeps it busy by beginning and cancelling calls (``read_action_parse_loop_locked`` in
src/core/ext/transport/chttp2/transport/chttp2_transport.cc). Envoy sends one when an ext_proc stream has ended, hence
with each request. After an end (``a_call_ended``), and when a call has begun without the message that it begins with
(``a_call_began``), the event loop therefore waits within the core, for at most a millisecond and with nothing else to
do; any thread of the core ends that wait. What comes later still is found by looking again, first after milliseconds
and then more and more seldom.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Final

from extproc.server import grpc_core as core

_LOG: Final = logging.getLogger(__name__)
_AT_ONCE: Final = 64
"""Events that are heard before the event loop turns to what they led to."""

_AT_ANY_RATE: Final = 0.0
"""As a deadline: long past."""

_TURNS: Final = 2
"""Of the event loop, within which it does what an event led to; then it has time."""

_WAIT: Final = 0.001
_SOONEST: Final = 0.002
_SOON: Final = 0.016
_LATEST: Final = 0.25
"""Seconds: to wait within the core, and between looks that nothing asked for."""

_BLIND: Final = 0.001
"""Seconds between looks where there is no file to watch: on systems without Linux's epoll, to try things out."""


class Polling:
    """Hears the events of ``queue``. A process has one at a time: the core shares its epoll among all of its queues."""

    def __init__(self, queue: core.CompletionQueue, epoll: int | None, loop: asyncio.AbstractEventLoop) -> None:
        self._queue = queue
        self._epoll = epoll
        self._loop = loop
        self._due = self._hearing = self._over = False
        self._lingering = self._ended = False
        self._silent = 0
        self._turns = 0
        self._pause = self._latest = _LATEST if epoll is not None else _BLIND
        self._timer = loop.call_later(self._pause, self._look_again)
        if epoll is not None:
            loop.add_reader(epoll, self._look_at_connections)
        else:
            _LOG.warning("this system does not tell when Envoy has sent something; looking every millisecond")

    def soon(self) -> None:
        """Look at the end of this turn: what has just been begun may have been completed."""
        if not (self._due or self._hearing):
            self._due = True
            self._loop.call_soon(self._look_once)

    def a_call_ended(self) -> None:
        """More may come of that than this thread is told."""
        self._ended = True
        self._look_again_within(_SOONEST)

    def a_call_began(self) -> None:
        """Its first message has been sent with it, and ``a_message_came`` should follow at once."""
        self._silent += 1

    def a_message_came(self) -> None:
        """The first one of a call."""
        self._silent = max(0, self._silent - 1)

    async def close(self) -> None:
        """When the queue is being shut down: hear what is left. Nothing is heard afterwards."""
        while True:
            self._hear(_AT_ANY_RATE)
            if self._over:
                break
            await asyncio.sleep(_WAIT)
        self._timer.cancel()
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll)
            os.close(self._epoll)

    def _look_at_connections(self) -> None:
        if not self._look():
            # A new connection, for one; mostly a peer has only made room.
            self._look_again_within(_SOON)

    def _look(self) -> bool:
        heard = self._hear(_AT_ANY_RATE)
        if (self._ended or self._silent) and not self._lingering:
            self._lingering = True
            self._loop.call_soon(self._linger)
        return heard

    def _look_once(self) -> None:
        self._due = False
        self._look()

    def _look_again(self) -> None:
        self._pause = min(self._pause * 2, self._latest)
        self._timer = self._loop.call_later(self._pause, self._look_again)
        if self._look():
            # Where one thing was not told of, more may not be: while a peer is slow in reading, for one, a thread of
            # the core waits for it, and with the same epoll (``cover_self`` in src/core/lib/iomgr/tcp_posix.cc).
            self._look_again_within(_SOONEST)

    def _look_again_within(self, pause: float) -> None:
        if self._pause > pause:
            self._pause = pause
            self._timer.cancel()
            self._timer = self._loop.call_later(pause, self._look_again)

    def _linger(self) -> None:
        if self._turns or self._due:
            self._turns = max(0, self._turns - 1)
            self._loop.call_soon(self._linger)
            return
        self._lingering = self._ended = False
        if not self._hear(time.time() + _WAIT):
            self._silent = 0
            self._look_again_within(_SOONEST)
        elif self._ended or self._silent:
            self._look()

    def _hear(self, deadline: float) -> bool:
        """Whether there was anything."""
        poll = self._queue.poll
        self._hearing = True
        for heard in range(_AT_ONCE):
            event = poll(deadline)
            tag = event.tag
            if tag is None:
                self._hearing = False
                self._over = event.completion_type == core.SHUT_DOWN
                return heard > 0
            deadline = _AT_ANY_RATE
            self._turns = _TURNS
            try:
                tag.heard(event)
            except Exception:
                _LOG.exception("a gRPC event was not handled")
        self._hearing = False
        self.soon()
        return True
