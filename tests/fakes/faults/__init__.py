"""What can go wrong at a provider: each fault is a value that turns the reply it would give into another.

Faults compose with ``|``, the left one first: ``SlowEvents(0.1) | CutAfter(5, "reset")``. ``events`` counts whole
server-sent events from the reply's start (the first one tells the role), keep-alive comments left out; a JSON body is
one event. A fault that does not fit the reply (more events than there are) is a mistake in the test and fails it.
"""

from tests.fakes.faults.broken_body import (
    CutAfter,
    CutAt,
    Edited,
    ErrorAfter,
    GarbleAfter,
    HeadersThenSilence,
    KeepAliveComments,
    LingerAtEnd,
    SlowEvents,
    StallAfter,
)
from tests.fakes.faults.fault import Fault, Together
from tests.fakes.faults.refusals import (
    ContentFilter,
    ContextLengthExceeded,
    ErrorFirstEvent,
    ErrorInBody,
    RateLimited,
    Status,
)
from tests.fakes.faults.silence import CloseBeforeHeaders, HeldBack, NotHttp, ResetBeforeHeaders, Silence
from tests.fakes.faults.transfer import Chunking, CloseDelimited, Encoded, ExtraHeaders, Trailers, WrongLength

__all__ = [
    "Chunking",
    "CloseBeforeHeaders",
    "CloseDelimited",
    "ContentFilter",
    "ContextLengthExceeded",
    "CutAfter",
    "CutAt",
    "Edited",
    "Encoded",
    "ErrorAfter",
    "ErrorFirstEvent",
    "ErrorInBody",
    "ExtraHeaders",
    "Fault",
    "GarbleAfter",
    "HeadersThenSilence",
    "HeldBack",
    "KeepAliveComments",
    "LingerAtEnd",
    "NotHttp",
    "RateLimited",
    "ResetBeforeHeaders",
    "Silence",
    "SlowEvents",
    "StallAfter",
    "Status",
    "Together",
    "Trailers",
    "WrongLength",
]
