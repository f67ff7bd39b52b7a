"""The seam between the gateway and a wire format: what a Translator is given and what it gives back. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from extproc.errors import UpstreamError
from extproc.framing.sse import Event
from extproc.headers import Headers
from extproc.openai.alike import Alike
from extproc.openai.call import Call
from extproc.openai.features import Support
from extproc.openai.produced import Produced
from extproc.openai.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRequest:
    """What to send. ``body`` None: the client's own bytes. ``dropped`` names the client's knobs that were left out."""

    body: bytes | None
    headers: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamReply:
    """A provider's whole reply, with its content encoding already undone."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientReply:
    """What the client gets for a whole reply. ``model`` is the name the provider gave, None where it gave none.

    ``service_tier`` is OpenAI's, where the reply tells it.
    """

    body: bytes
    usage: Usage | None
    model: str | None = None
    service_tier: str | None = None


def _nothing(usage: Usage) -> dict[str, Any]:  # noqa: ARG001 - the signature of what prices a usage
    return {}


@dataclass(slots=True, kw_only=True)
class StreamState:
    """What a stream has told so far. ``complete`` once the answer is whole: only then may ``[DONE]`` be sent.

    ``begun`` and ``finished`` are the choices' indices, of formats that have several. ``beside_usage`` gives further
    fields for the client's ``usage``, such as what it costs. Events that are ``alike`` tell nothing but their text.
    """

    usage: Usage | None = None
    model: str | None = None
    service_tier: str | None = None
    produced: Produced = field(default_factory=Produced)
    beside_usage: Callable[[Usage], dict[str, Any]] = _nothing
    complete: bool = False
    events: int = field(default=0)
    begun: set[int] = field(default_factory=set)
    finished: set[int] = field(default_factory=set)
    alike: Alike | None = None


class StreamTranslator(Protocol):
    """One stream's events, from the provider's format to the client's. Never sees a byte boundary."""

    state: StreamState

    def event(self, event: Event) -> bytes:
        """The client's bytes for one event; empty when it has none.

        Raises UpstreamError when the event is an error, GarbledReply when it is not what the format allows.
        """

    def close(self) -> bytes:
        """The client's last bytes after the provider's last event, when ``state.complete``."""


class Translator(Protocol):
    """One operation of one dialect. Stateless; the same object serves every request."""

    @property
    def support(self) -> Mapping[str, Support]:
        """What becomes of each feature in ``extproc.openai.features``; empty where everything is passed on."""

    def support_of(self, model: str) -> Mapping[str, Support]:
        """The same for one model, by the provider's name for it, where a model can do less than its dialect."""

    def rewrites(self, call: Call, model: str) -> bool:
        """Whether ``encode`` needs ``call.body``. Where it does not, Envoy keeps the body, which saves a message."""

    def encode(self, call: Call, model: str) -> UpstreamRequest:
        """The provider's request for the client's call; ``model`` is the provider's name for it."""

    def decode(self, reply: UpstreamReply, call: Call) -> ClientReply:
        """A successful whole reply. Raises UpstreamError for an error in it, GarbledReply when it is no answer."""

    def decode_error(self, reply: UpstreamReply) -> UpstreamError:
        """What an unsuccessful reply means, whatever its body looks like."""

    def stream(self, call: Call) -> StreamTranslator:
        """A translator for one streamed reply."""


class GarbledReply(UpstreamError):
    """The provider's bytes are not what its format allows."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=502, code="bad_upstream_reply")
