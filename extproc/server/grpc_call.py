"""One gRPC call as its handler sees it: messages, as bytes, that it reads and writes.

What is received is all that the event loop is woken for. What is written goes out at the handler's next pause, in as
few batches as the core takes: it takes one message a batch, and one batch at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from extproc.server import grpc_core as core
from extproc.server.grpc_polling import Polling

_LOG: Final = logging.getLogger(__name__)
_MOST_UNSENT: Final = 16
"""Messages that may wait for a peer that takes none, before no more of its own are received either."""

Handler: TypeAlias = "Callable[[ServedCall], Awaitable[None]]"
Take: TypeAlias = Callable[[bytes], bool]


class Aborted(Exception):
    """Raised by a handler: the call ends with this status."""

    def __init__(self, code: core.Status, details: str) -> None:
        super().__init__(details)
        self.code = code


class Calls:
    """Those of one server whose status has not been sent."""

    def __init__(self, loop: asyncio.AbstractEventLoop, polling: Polling) -> None:
        self.loop = loop
        self.polling = polling
        self.over = _Over(polling)
        """Told when there is nothing to be done for a call any more."""
        self.closed = False
        """The core ends the process of whoever begins anything with it now."""
        self._under_way: set[ServedCall] = set()
        self._ended: asyncio.Future[None] | None = None

    def watch(self) -> None:
        """See to it that those end which do not read, and whose peer is gone."""
        for call in self._under_way:
            call.watch()

    async def end(self) -> None:
        """Cancel them all, and wait until there are none."""
        for call in self._under_way:
            call.cancelled()
        if self._under_way:
            self._ended = self.loop.create_future()
            await self._ended
        self.closed = True

    def begun(self, call: ServedCall) -> None:
        """There is one more."""
        self._under_way.add(call)

    def ended(self, call: ServedCall) -> None:
        """There is one less."""
        self._under_way.discard(call)
        if self._ended is not None and not self._under_way:
            self._ended.set_result(None)


class ServedCall:
    """A call, from its beginning to its status. It runs on the event loop's thread."""

    __slots__ = (
        *("_begun", "_call", "_calls", "_flush_due", "_handler", "_loop", "_metadata", "_more", "_over"),
        *("_receiving", "_sending", "_status", "_take", "_task", "_unread", "_unsent", "_waiter", "_watched"),
    )

    def __init__(self, event: core.Event, handler: Handler, calls: Calls) -> None:
        self._call = event.call
        self._metadata = event.invocation_metadata
        self._handler = handler
        self._calls = calls
        self._loop = calls.loop
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[bytes | None] | None = None
        self._unread: bytes | None = None
        self._unsent: deque[bytes] = deque()
        self._status: tuple[int, bytes] | None = None
        self._take: Take | None = None
        self._begun = self._over = self._receiving = self._flush_due = self._watched = False
        self._sending = self._more = False
        calls.begun(self)
        self._receive()

    # ---- for the handler

    def invocation_metadata(self) -> core.Metadata:
        """What the peer sent with the call."""
        return self._metadata

    def read(self, *, silent: bool = False, take: Take | None = None) -> Awaitable[bytes | None]:
        """The next message; None when the peer sends no more, or is gone.

        ``silent``: before it is there, nothing will be written and the call will not end, so that one batch can be both
        the last message going out and the wait for this one.

        ``take`` is offered what comes, and says whether the wait goes on for the one after it. What it writes goes out
        at once: it saves the handler's waking up.
        """
        self._take = take
        self._waiter = waiter = self._loop.create_future()
        is_there = self._unread is not None or self._over
        if silent and len(self._unsent) == 1 and not (is_there or self._sending or self._receiving):
            self._ask()
            return waiter
        if self._unsent:
            self._send()
        if is_there:
            self._deliver()
        elif len(self._unsent) <= _MOST_UNSENT:
            self._receive()
        return waiter

    def write(self, message: bytes) -> None:
        """Send it as soon as the handler waits for anything. It is lost where the peer is gone."""
        self._unsent.append(message)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    # ---- for what is told of events

    def received(self, message: bytes | None) -> None:
        """The peer's next message is there, or there are none any more. With the first of that, the handler begins."""
        self._receiving = False
        self._unread, self._over = message, message is None
        if message is None:
            self._calls.polling.a_call_ended()
        if self._task is None and self._status is None:
            self._calls.polling.a_message_came()
            self._task = self._loop.create_task(self._run())
        elif self._waiter is not None and not self._is_taken(self._waiter, message):
            self._deliver()

    def sent(self) -> None:
        """Nothing is being sent any more."""
        self._sending = False
        if not self._more:
            return
        self._send()
        if self._waiter is not None and len(self._unsent) <= _MOST_UNSENT:
            self._receive()

    def asked(self, message: bytes | None) -> None:
        """Both that the last message was sent, and ``received``."""
        self._sending = False
        self.received(message)
        if self._more:
            self._send()

    def watch(self) -> None:
        """Have ``cancelled`` called: whoever does not read does not see that the peer is gone."""
        if not self._receiving and not self._watched:
            self._watched = True
            self._start((core.ReceiveClose(core.NO_FLAGS),), _Closed(self))

    def cancelled(self) -> None:
        """The peer is gone, or the time for the call is up."""
        if self._task is not None:
            self._task.cancel()

    # ---- inside

    async def _run(self) -> None:
        code, details = core.Status.OK, ""
        try:
            await self._handler(self)
        except asyncio.CancelledError:
            code = core.Status.CANCELLED
        except Aborted as error:
            code, details = error.code, str(error)
        except Exception:
            _LOG.exception("a gRPC call failed")
            code, details = core.Status.INTERNAL, "This is a bug; the log has more."
        self._status = code, details.encode()
        self._task = self._take = None  # refer to this, which would be a cycle
        self._send()

    def _is_taken(self, waiter: asyncio.Future[bytes | None], message: bytes | None) -> bool:
        if self._take is None or message is None or waiter.done():
            return False
        try:
            if not self._take(message):
                return False
        except Exception as error:  # the handler's, whoever called it
            waiter.set_exception(error)
            return True
        self._unread = None
        if self._unsent:
            self._send()
        if len(self._unsent) <= _MOST_UNSENT:
            self._receive()
        return True

    def _deliver(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(self._unread)
            self._unread = None

    def _receive(self) -> None:
        if not self._receiving:
            self._receiving = True
            self._calls.polling.soon()
            self._start((core.ReceiveMessage(core.NO_FLAGS),), _Received(self))

    def _flush(self) -> None:
        self._flush_due = False
        if self._unsent:
            self._send()

    def _ask(self) -> None:
        self._sending = self._receiving = True
        self._calls.polling.soon()
        self._start([*self._message(), core.ReceiveMessage(core.NO_FLAGS)], _Asked(self))

    def _send(self) -> None:
        """Start to send what there is, unless the last of that is still on its way."""
        if self._sending:
            self._more = True
            self._calls.polling.soon()
            return
        operations, self._more = self._message(), bool(self._unsent)
        if self._status is None or self._unsent:
            if operations:
                self._sending = True
                self._start(operations, _Sent(self))
            return
        operations.append(core.SendStatus(None, *self._status, core.NO_FLAGS))
        if not self._begun:
            operations.append(core.SendInitialMetadata(None, core.NO_FLAGS))
        if not self._watched:
            operations.append(core.ReceiveClose(core.NO_FLAGS))
        self._sending = True  # and stays so: nothing can follow
        self._calls.ended(self)
        self._start(operations, self._calls.over)

    def _message(self) -> list[core.Operation]:
        """The next of them, and what must go before the first."""
        if not self._unsent:
            return []
        message = self._unsent.popleft()
        if self._begun:
            return [core.SendMessage(message, core.BUFFER_HINT if self._unsent else core.NO_FLAGS)]
        # No hint here: with it, the core would not send the metadata before there is another message.
        self._begun = True
        return [core.SendInitialMetadata(None, core.NO_FLAGS), core.SendMessage(message, core.NO_FLAGS)]

    def _start(self, operations: Sequence[core.Operation], tag: core.Tag) -> None:
        if self._calls.closed:
            return
        error = self._call.start_server_batch(operations, tag)
        if error:
            message = f"gRPC does not take these operations: error {error}"
            raise RuntimeError(message)


class _Told:
    """Who is told of what happens to a call."""

    __slots__ = ("_call",)

    def __init__(self, call: ServedCall) -> None:
        self._call = call


class _Received(_Told):
    __slots__ = ()

    def heard(self, event: core.Event) -> None:
        self._call.received(event.batch_operations[0].message())


class _Asked(_Told):
    __slots__ = ()

    def heard(self, event: core.Event) -> None:
        self._call.asked(event.batch_operations[-1].message())


class _Sent(_Told):
    __slots__ = ()

    def heard(self, _event: core.Event) -> None:
        self._call.sent()


class _Closed(_Told):
    __slots__ = ()

    def heard(self, event: core.Event) -> None:
        if event.batch_operations[0].cancelled():
            self._call.cancelled()


class _Over:
    def __init__(self, polling: Polling) -> None:
        self._polling = polling

    def heard(self, _event: core.Event) -> None:
        self._polling.a_call_ended()
