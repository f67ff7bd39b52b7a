"""The names of grpcio's core layer that the server is written on, with the types that grpcio does not ship for them.

It is the layer below ``grpc.aio`` and ``grpc.server``, and not public: grpcio is locked to one version, and whoever
raises that runs tests/unit/server/test_grpc_server.py. Each name is what its namesake in the core is:
https://grpc.github.io/grpc/core/grpc_8h.html

Nothing of grpcio is imported elsewhere, so that what the core reads once, when it is loaded, has been set by then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from enum import IntEnum
from importlib import import_module
from typing import Any, Final, Protocol, TypeAlias

# Whoever asks for events reads from the connections, instead of being woken by a thread that has read: grpc_polling.py.
# The names are the core's own: grpc/src/core/lib/experiments/experiments.yaml.
os.environ["GRPC_EXPERIMENTS"] = f"{os.environ.get('GRPC_EXPERIMENTS', '')},-event_engine_listener".lstrip(",")

import grpc  # noqa: F401 - the core's package, which reads that as it is loaded

Operation: TypeAlias = Any
Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
Options: TypeAlias = Sequence[tuple[str, int]]


class Status(IntEnum):
    """How a call ended: https://grpc.github.io/grpc/core/md_doc_statuscodes.html"""

    OK = 0
    CANCELLED = 1
    NOT_FOUND = 5
    UNIMPLEMENTED = 12
    INTERNAL = 13


class Call(Protocol):
    """One call, on the server's side."""

    def start_server_batch(self, operations: Sequence[Operation], tag: Tag) -> int:
        """Of each kind of operation, one at a time may be under way. Returns 0, or what of this was not kept to."""


class CallDetails(Protocol):
    """What is known of a call beside its metadata."""

    @property
    def method(self) -> bytes:
        """``/service/method``."""


class Event(Protocol):
    """Something has been completed. A batch has been when all of its operations have."""

    @property
    def tag(self) -> Tag | None:
        """The one that was given for it; None when there is no event, or when there will be none."""

    @property
    def completion_type(self) -> int:
        """``SHUT_DOWN``, for one."""

    @property
    def success(self) -> bool:
        """False for sending on a call that is over, and for a new call when there will be none."""

    @property
    def batch_operations(self) -> Sequence[Operation]:
        """With their results."""

    @property
    def call(self) -> Call:
        """The new one."""

    @property
    def call_details(self) -> CallDetails:
        """Of the new call."""

    @property
    def invocation_metadata(self) -> Metadata:
        """Of the new call."""


class Tag(Protocol):
    """Who is told of an event."""

    def heard(self, event: Event) -> None:
        """It is there."""


class CompletionQueue(Protocol):
    """Where events come from."""

    def poll(self, deadline: float) -> Event:
        """Wait for the next one until ``deadline``, without Python's lock; Unix seconds."""

    def shutdown(self) -> None:
        """No event follows; its owner has seen to that."""


class Server(Protocol):
    """Listens, and has the calls."""

    def register_completion_queue(self, queue: CompletionQueue) -> None:
        """Before it starts."""

    def add_http2_port(self, address: bytes) -> int:
        """The port, or 1 for a unix socket; 0 when the address cannot be had."""

    def start(self) -> None:
        """Listen."""

    def request_call(self, call_queue: CompletionQueue, server_queue: CompletionQueue, tag: Tag) -> int:
        """Have one more call, as an event."""

    def shutdown(self, queue: CompletionQueue, tag: Tag) -> None:
        """Take no more calls; the event comes when there are none left."""

    def cancel_all_calls(self) -> None:
        """Only while it shuts down."""

    def destroy(self) -> None:
        """Only when it has shut down."""


_core: Final[Any] = import_module("grpc._cython.cygrpc")

new_completion_queue: Final[Callable[[], CompletionQueue]] = _core.CompletionQueue
new_server: Final[Callable[[Options, bool], Server]] = _core.Server

ReceiveMessage: Final[Callable[[int], Operation]] = _core.ReceiveMessageOperation
ReceiveClose: Final[Callable[[int], Operation]] = _core.ReceiveCloseOnServerOperation
SendInitialMetadata: Final[Callable[[None, int], Operation]] = _core.SendInitialMetadataOperation
SendMessage: Final[Callable[[bytes, int], Operation]] = _core.SendMessageOperation
SendStatus: Final[Callable[[None, int, bytes, int], Operation]] = _core.SendStatusFromServerOperation

SHUT_DOWN: Final[int] = _core.CompletionType.queue_shutdown
"""The queue has no more events."""

NO_FLAGS: Final = 0
BUFFER_HINT: Final[int] = _core.WriteFlag.buffer_hint
"""Another message follows at once: it may wait for that one."""
