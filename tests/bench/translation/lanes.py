"""What is translated: one chat of 2 KB and one chunk of text, for each provider, by Kortex and by LiteLLM."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from extproc.dialects.base import Translator
from extproc.framing.sse import SseFramer
from extproc.openai.call import Call, Operation, parse_call
from extproc.providers.registry import PROVIDERS

_GOLDENS: Final = Path(__file__).parents[2] / "golden"
_CHUNKS: Final = 200
"""Chunks of text in a stream."""

_TURN: Final = (
    "The river was low that summer, and the ferry went over twice a day, at eight and at five, whoever waited. "
)
MESSAGES: Final = [
    {"role": "system", "content": "You are a careful editor. " + _TURN * 3},
    *({"role": role, "content": _TURN * 2} for role in ("user", "assistant", "user", "assistant", "user")),
    {"role": "assistant", "content": _TURN},
    {
        "role": "user",
        "content": "Now shorten the last paragraph to one sentence, please, and keep its rhythm. " + _TURN,
    },
]
FIELDS: Final[dict[str, Any]] = {"temperature": 0.5, "max_tokens": 512, "stop": ["END"], "stream": True}
BODY: Final = json.dumps({"model": "asked", "messages": MESSAGES, **FIELDS}).encode()

Act = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """How a provider's translation is found: here by its name in the registry, there by LiteLLM's name for it.

    ``dialect``: whose recorded reply the stream is made of. ``reader``: LiteLLM's class for its streams, where its
    configuration of the provider does not name one. ``bare``: that takes JSON alone.
    """

    name: str
    model: str
    litellm: str
    dialect: str
    reader: str | None = None
    bare: bool = False


LANES: Final = (
    Provider(
        name="openai",
        model="gpt-4o",
        litellm="openai",
        dialect="providers/azure",
        reader="litellm.llms.openai.chat.gpt_transformation:OpenAIChatCompletionStreamingHandler",
    ),
    Provider(name="mistral", model="mistral-large-latest", litellm="mistral", dialect="mistral"),
    Provider(
        name="anthropic",
        model="claude-sonnet-4-5",
        litellm="anthropic",
        dialect="anthropic",
        reader="litellm.llms.anthropic.chat.handler:ModelResponseIterator",
    ),
    Provider(name="cohere", model="command-a-03-2025", litellm="cohere", dialect="cohere", bare=True),
    Provider(name="gemini", model="gemini-2.5-flash", litellm="gemini", dialect="gemini"),
    Provider(
        name="bedrock", model="us.anthropic.claude-sonnet-4-5-20250929-v1:0", litellm="bedrock", dialect="converse"
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A provider's acts. ``chunks`` is how many chunks of text a stream has; None where there is nothing to compare."""

    name: str
    request: Act
    their_request: Act | None
    stream: Act | None
    their_stream: Act | None
    chunks: int


def lanes() -> Iterator[Lane]:
    """For every provider that this gateway has."""
    for provider in LANES:
        if provider.name in PROVIDERS:
            yield _lane(provider)


def _lane(provider: Provider) -> Lane:
    offers = PROVIDERS[provider.name].offers
    translator = offers[provider.dialect if provider.dialect in offers else next(iter(offers))][Operation.CHAT]
    call = parse_call(Operation.CHAT, BODY)
    recorded = _recorded(provider.dialect)
    events = _long(recorded, translator, call) if recorded else ()
    return Lane(
        name=provider.name,
        request=lambda: _encode(translator, call, provider.model),
        their_request=_their_request(provider),
        stream=(lambda: _decode(translator, call, events)) if events else None,
        their_stream=_their_stream(provider, events) if events else None,
        chunks=len(events),
    )


def _encode(translator: Translator, call: Call, model: str) -> None:
    assert translator.encode(call, model).body


def _decode(translator: Translator, call: Call, events: Iterable[bytes]) -> None:
    """As they come from the network, each by itself, and as ``exchange.reply`` reads them."""
    stream, framer = translator.stream(call), SseFramer(limit=1 << 20)
    for data in events:
        repeated = None if stream.state.alike is None else stream.state.alike.read(data)
        if repeated is not None:
            stream.state.produced.add(repeated[0])
            continue
        for event in framer.feed(data):
            stream.event(event)


def _recorded(dialect: str) -> list[bytes]:
    """The events of a short answer."""
    file = _GOLDENS / f"{dialect}/reply.sse" if "/" in dialect else _GOLDENS / f"chat/reply_text/{dialect}.reply.sse"
    if not file.is_file():
        return []
    return [event.raw for event in SseFramer(limit=1 << 20).feed(file.read_bytes())]


def _long(recorded: list[bytes], translator: Translator, call: Call) -> tuple[bytes, ...]:
    """The recorded answer up to its first text, and then that text again and again."""
    stream, framer = translator.stream(call), SseFramer(limit=1 << 20)
    for index, data in enumerate(recorded):
        given = b"".join(stream.event(event) for event in framer.feed(data))
        if b'"content":"' in given.replace(b'"content":""', b""):
            return (*recorded[:index], *[data] * _CHUNKS)
    raise AssertionError("the recorded answer has no text")


def _their_request(provider: Provider) -> Act | None:
    config = _config(provider)
    if provider.litellm == "gemini":
        return _their_gemini_request(provider, config)

    def act() -> None:
        fields = json.loads(BODY)
        messages = fields.pop("messages")
        del fields["model"]
        optional = config.map_openai_params(fields, {}, provider.model, drop_params=True)
        assert json.dumps(config.transform_request(provider.model, messages, optional, {}, {}))

    return act


def _their_gemini_request(provider: Provider, config: Any) -> Act:
    transform = _named("litellm.llms.vertex_ai.gemini.transformation:_transform_request_body")

    def act() -> None:
        fields = json.loads(BODY)
        messages = fields.pop("messages")
        del fields["model"]
        optional = config.map_openai_params(fields, {}, provider.model, drop_params=True)
        assert json.dumps(transform(messages, provider.model, optional, "gemini", {}, None))

    return act


def _their_stream(provider: Provider, events: Iterable[bytes]) -> Act:
    # Some of its readers stumble over the lines that name an event, and one over the name of the data.
    lines = [line for event in events for line in event.decode().split("\n") if line.startswith("data:")]
    if provider.bare:
        lines = [line.removeprefix("data:").strip() for line in lines]
    make = _reader(provider)

    def act() -> None:
        for _ in make(iter(lines)):
            pass

    return act


def _reader(provider: Provider) -> Callable[[Iterator[str]], Iterator[Any]]:
    if provider.litellm == "gemini":
        gemini = _named("litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini:ModelResponseIterator")
        logging = _logging()
        return lambda lines: gemini(lines, True, logging)
    if provider.reader is not None:
        kind = _named(provider.reader)
        return lambda lines: kind(lines, True, False)
    config = _config(provider)
    return lambda lines: config.get_model_response_iterator(lines, True, False)


def _logging() -> Any:
    """What LiteLLM's reader of Gemini's streams wants to be given."""
    kind = _named("litellm.litellm_core_utils.litellm_logging:Logging")
    made = kind("gemini/m", MESSAGES, True, "completion", None, "1", "1")
    made.optional_params = {}
    return made


def _config(provider: Provider) -> Any:
    manager = _named("litellm.utils:ProviderConfigManager")
    names = _named("litellm.types.utils:LlmProviders")
    return manager.get_provider_chat_config(model=provider.model, provider=names(provider.litellm))


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
