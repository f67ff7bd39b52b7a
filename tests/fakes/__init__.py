"""A fake LLM provider for tests: it speaks OpenAI's API, records what it receives, and fails exactly as it is told.

    with FakeProvider(name="a") as fake:
        fake.script = [RateLimited(retry_after=1), StallAfter(events=3)]
        ...
        assert fake.requests[0].json["model"] == "gpt-4o"

From the outside in: ``openai_provider`` (the API) → ``checks`` (what it refuses) and ``replies`` (what it answers)
→ ``faults`` (what goes wrong) → ``steps`` and ``wire`` (a reply as bytes, pauses and ends) → ``http_server`` and
``connection`` (sockets).
"""

from tests.fakes.faults import (
    Chunking,
    CloseBeforeHeaders,
    CloseDelimited,
    ContentFilter,
    ContextLengthExceeded,
    CutAfter,
    CutAt,
    Edited,
    Encoded,
    ErrorAfter,
    ErrorFirstEvent,
    ErrorInBody,
    ExtraHeaders,
    Fault,
    GarbleAfter,
    HeadersThenSilence,
    HeldBack,
    KeepAliveComments,
    LingerAtEnd,
    NotHttp,
    RateLimited,
    ResetBeforeHeaders,
    Silence,
    SlowEvents,
    StallAfter,
    Status,
    Trailers,
    WrongLength,
)
from tests.fakes.http_server import closed_port, silent_port
from tests.fakes.openai_provider import FakeProvider
from tests.fakes.provider_error import ProviderError
from tests.fakes.recorded import Recorded

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
    "FakeProvider",
    "Fault",
    "GarbleAfter",
    "HeadersThenSilence",
    "HeldBack",
    "KeepAliveComments",
    "LingerAtEnd",
    "NotHttp",
    "ProviderError",
    "RateLimited",
    "Recorded",
    "ResetBeforeHeaders",
    "Silence",
    "SlowEvents",
    "StallAfter",
    "Status",
    "Trailers",
    "WrongLength",
    "closed_port",
    "silent_port",
]
